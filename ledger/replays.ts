import { randomBytes } from 'node:crypto';
import type { SourceEvent } from '../contracts/events';
import { Problem } from '../contracts/problems';
import { acceptEvent } from './accept';
import type { Queryable } from './database';
import type { UnsentWake } from './outbox';
import { lockWorkload, type WorkloadRow } from './workload-row';

export interface ReplayOrder {
  tenantId: string;
  /** The original. */
  workloadId: string;
  /** Who, e.g. `token:<id>`. */
  actor: string;
  /** Why, in the operator's words; kept in the audit. */
  reason: string;
  /** It goes on though another workload holds its dedupe key. */
  bypassDedupe: boolean;
}

export interface Replayed {
  /** The new workload. */
  workloadId: string;
  /** The new event, for the wake. */
  event: SourceEvent;
}

/** Characters of the original's event id that stay in the new one, so that people see where it comes from. */
const ID_CHARS = 256 - 'replay::'.length - 24;

/**
 * Posts a past event again, as an event of its own that is linked with the first. It is decided anew, by the policy that is
 * active then. `workload.state_conflict` while the original is open (`lost` counts as ended), `replay.body_pruned` once its
 * body is gone, `entitlement.lapsed`. Limits count it and do not refuse it. A callback address is not taken over: whoever waited there has had its answer.
 */
export async function replayWithin(tx: Queryable, order: ReplayOrder): Promise<Replayed> {
  // The lock keeps the pruning of bodies out.
  const row = await lockWorkload(tx, order.workloadId);
  if (!row || row.tenant_id !== order.tenantId) throw new Problem('not_found', 'No such workload.');
  if (row.ended_at === null) {
    throw new Problem(
      'workload.state_conflict',
      `A workload that is ${row.state} cannot be replayed: it has not ended.`,
      {
        extra: { state: row.state },
      },
    );
  }
  const [stored] = await tx.query<{ body: string | null }>('SELECT body FROM events WHERE workload_id = $1', [
    row.workload_id,
  ]);
  if (!stored?.body)
    throw new Problem('replay.body_pruned', 'The event’s body is no longer kept: post the event anew.');
  const event = newEvent(JSON.parse(stored.body) as SourceEvent);
  const { workloadId } = await acceptEvent(tx, order.tenantId, event, order.actor, true);
  await link(tx, row, workloadId, order);
  return { workloadId, event };
}

/** What Temporal has to hear of a replay that is committed. */
export const wakeOf = ({ workloadId, event }: Replayed, tenantId: string): UnsentWake => ({
  workload_id: workloadId,
  tenant_id: tenantId,
  source: event.source,
  action: event.action,
  state: 'accepted',
  closed: false,
  wake_seq: '1',
  wait_ms: null,
});

function newEvent({ event_id, ...content }: SourceEvent): SourceEvent {
  const origin = event_id.replace(/^replay:[0-9a-f]{24}:/, '');
  const name = origin.slice(0, ID_CHARS).replace(/[\ud800-\udbff]$/, '');
  return { ...content, event_id: `replay:${randomBytes(12).toString('hex')}:${name}` };
}

async function link(tx: Queryable, original: WorkloadRow, workloadId: string, order: ReplayOrder): Promise<void> {
  await tx.query(
    `WITH link AS (
       INSERT INTO replays (workload_id, replay_of, reason, actor, bypass_dedupe) VALUES ($1, $2, $3, $4::text, $5)
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     SELECT $6, note.workload_id, note.type, $4::text, note.detail
     FROM jsonb_to_recordset($7::jsonb) AS note(workload_id text, type text, detail jsonb)`,
    [
      workloadId,
      original.workload_id,
      order.reason,
      order.actor,
      order.bypassDedupe,
      order.tenantId,
      JSON.stringify([
        noteOf(original.workload_id, 'workload.replayed', order, { replay: workloadId }),
        noteOf(workloadId, 'workload.replay_accepted', order, { replay_of: original.workload_id }),
      ]),
    ],
  );
}

const noteOf = (workloadId: string, type: string, order: ReplayOrder, detail: object): object => ({
  workload_id: workloadId,
  type,
  detail: { ...detail, action: 'replay', operator_reason: order.reason, bypass_dedupe: order.bypassDedupe },
});

/** True for a replay that may go on though `holder` has its dedupe key; noted with both, if there is one. */
export async function bypassesDedupe(tx: Queryable, row: WorkloadRow, holder: string | null): Promise<boolean> {
  const rows = await tx.query(
    `WITH link AS (
       UPDATE replays SET bypassed_holder = $2 WHERE workload_id = $1 AND bypass_dedupe RETURNING workload_id
     ), note AS (
       INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
       SELECT $3, workload_id, 'workload.dedupe_bypassed', 'policy', jsonb_build_object('held_by', $2::text) FROM link
       WHERE $2::text IS NOT NULL
     )
     SELECT workload_id FROM link`,
    [row.workload_id, holder, row.tenant_id],
  );
  return rows.length > 0;
}
