import type { RuleSnapshot } from '../contracts/policy';
import type { WorkloadRecord } from '../contracts/workload-record';

/** What a workload's record needs for whom it covers, who covers it and its approval. */
export interface FlowColumns {
  absorbed: WorkloadRecord['absorbed'];
  absorbed_by: string | null;
  held: { rule: string; asked_at: string } | null;
  answered: { type: string; at: string; actor: string; why: string | null } | null;
}

/** Columns of a query over `workloads w` with the workload as `$1` and the most rows as `$3`. */
export const FLOW_COLUMNS = `
  (SELECT coalesce(json_agg(a ORDER BY a.at, a.workload_id), '[]') FROM (
     WITH RECURSIVE covers AS (
       SELECT workload_id, how, at FROM absorbed WHERE absorbed_by = $1
       UNION
       SELECT b.workload_id, b.how, b.at FROM absorbed b JOIN covers c ON b.absorbed_by = c.workload_id
     )
     SELECT c.workload_id, e.event_id, c.how, c.at FROM covers c JOIN workloads e USING (workload_id) LIMIT $3) a) AS absorbed,
  (SELECT b.absorbed_by FROM absorbed b WHERE b.workload_id = $1) AS absorbed_by,
  (SELECT row_to_json(h) FROM (
     SELECT rule, decided_at AS asked_at FROM decisions WHERE workload_id = $1 AND decision = 'hold') h) AS held,
  (SELECT row_to_json(a) FROM (
     SELECT type, at, actor, detail->>'operator_reason' AS why FROM audit
     WHERE workload_id = $1 AND detail->>'from' = 'held' AND type IN ('workload.queued', 'workload.denied')
     ORDER BY seq LIMIT 1) a) AS answered`;

type FlowFields = Pick<WorkloadRecord, 'absorbed' | 'absorbed_by' | 'hold'>;

/** The fields of a record that say whom a workload covers, who covers it, and who approved it. */
export function flowOf({ absorbed, absorbed_by, held, answered }: FlowColumns): FlowFields {
  return {
    absorbed: absorbed.map((event) => ({ ...event, at: utc(event.at) })),
    absorbed_by,
    hold: held && holdOf(held, answered),
  };
}

function holdOf(held: NonNullable<FlowColumns['held']>, answered: FlowColumns['answered']): WorkloadRecord['hold'] {
  const { hold } = JSON.parse(held.rule) as RuleSnapshot;
  const asked = new Date(held.asked_at);
  const expired = answered?.actor === 'deadline';
  const said = answered?.type === 'workload.queued' ? 'approved' : 'denied';
  return {
    asked_at: asked.toISOString(),
    deadline_at: new Date(asked.getTime() + (hold?.deadline ?? 0)).toISOString(),
    then: hold?.then ?? 'deny',
    answer: answered ? (expired ? 'expired' : said) : null,
    by: answered?.actor ?? null,
    at: answered ? utc(answered.at) : null,
    reason: answered?.why ?? null,
  };
}

const utc = (time: string): string => new Date(time).toISOString();
