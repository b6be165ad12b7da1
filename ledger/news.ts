import { ENDS } from '../contracts/webhooks';
import type { WorkloadState } from '../contracts/terminology';
import type { Queryable } from './database';
import { summaryOf } from './workload-summary';
import type { WorkloadRow } from './workload-row';

/** What is told of a change: the parts of the body that are the same for every target. */
interface News {
  /** Up to `"callback_for":`, whose value differs. */
  head: string;
  /** Value of `callback_for` in callbacks. */
  callbackFor: string;
}

export const isEnd = (state: WorkloadState): boolean => (ENDS as readonly WorkloadState[]).includes(state);

/** The news of a workload that has just come to its state. */
function newsOf(row: WorkloadRow): News {
  const body = {
    type: `workload.${row.state}`,
    timestamp: row.updated_at.toISOString(),
    data: { sequence: row.news_seq, workload: summaryOf(row), corrected: row.corrected, callback_for: '' },
  };
  return { head: JSON.stringify(body).slice(0, -4), callbackFor: JSON.stringify([row.event_id]) };
}

const MESSAGE_ID = "'msg_' || replace(gen_random_uuid()::text, '-', '')";
const MESSAGE_COLUMNS = 'message_id, tenant_id, workload_id, kind, target_id, host, type, sequence, body';

/**
 * Part of the statement that writes a change: one message for each callback (of an end only) and each subscription that wants to
 * hear of it. `first` is the number of the first of its seven parameters, {@link newsParameters}.
 */
export const newsInsert = (first: number): string => {
  const [tenant, seq, head, callbackFor, end, source, rule] = [0, 1, 2, 3, 4, 5, 6].map(
    (offset) => `$${first + offset}`,
  );
  return `
  INSERT INTO webhook_messages (${MESSAGE_COLUMNS})
  SELECT ${MESSAGE_ID}, ${tenant}::text, $1, target.kind, target.id, target.host, 'workload.' || $2::text, ${seq}::int,
    ${head}::text || CASE target.kind WHEN 'callback' THEN ${callbackFor}::text ELSE '[]' END || '}}'
  FROM (
    SELECT 'callback' AS kind, callback_id AS id, host FROM callbacks
    WHERE workload_id = $1 AND closed_at IS NULL AND ${end}::boolean
    UNION ALL
    SELECT 'subscription', subscription_id, host FROM subscriptions
    WHERE tenant_id = ${tenant}::text AND disabled_at IS NULL AND $2::text = ANY(states)
      AND (sources IS NULL OR ${source}::text = ANY(sources)) AND (rules IS NULL OR ${rule}::text = ANY(rules))
  ) target
  WHERE ${head}::text IS NOT NULL`;
};

/** The parameters of {@link newsInsert}; a change that is no news writes nothing. */
export function newsParameters(after: WorkloadRow, isNews: boolean): unknown[] {
  const news = isNews ? newsOf(after) : null;
  return [
    after.tenant_id,
    after.news_seq,
    news?.head ?? null,
    news?.callbackFor ?? null,
    isEnd(after.state),
    after.source,
    after.rule_id,
  ];
}

/** Tells a callback that came after the end what the workload has come to. */
export async function tellOfEnd(tx: Queryable, row: WorkloadRow, callbackId: string, host: string): Promise<void> {
  const { head, callbackFor } = newsOf(row);
  await tx.query(
    `INSERT INTO webhook_messages (${MESSAGE_COLUMNS}) VALUES (${MESSAGE_ID}, $1, $2, 'callback', $3, $4, $5, $6, $7)`,
    [
      row.tenant_id,
      row.workload_id,
      callbackId,
      host,
      `workload.${row.state}`,
      row.news_seq,
      `${head}${callbackFor}}}`,
    ],
  );
}
