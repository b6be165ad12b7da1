import type { WorkloadSummaryRecord } from '../contracts/workload-record';
import type { WorkloadRow } from './workload-row';

/** A workload's row as the API shows it. */
export function summaryOf(row: WorkloadRow): WorkloadSummaryRecord {
  return {
    workload_id: row.workload_id,
    state: row.state,
    reason: row.reason,
    source: row.source,
    action: row.action,
    event_id: row.event_id,
    subject: row.subject,
    rule_id: row.rule_id,
    pool_id: row.pool_id,
    executor: row.executor,
    priority: row.priority,
    delivery: row.delivery,
    deadline:
      row.closed || row.deadline_kind === null || row.deadline_at === null
        ? null
        : { kind: row.deadline_kind, at: row.deadline_at.toISOString() },
    waiting_for: row.waiting_for,
    opens_at: row.waiting_for === null ? null : (row.opens_at?.toISOString() ?? null),
    closed: row.closed,
    corrected: row.corrected,
    double_execution: row.double_execution,
    may_still_run: row.may_still_run,
    accepted_at: row.accepted_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
    ended_at: row.ended_at?.toISOString() ?? null,
  };
}
