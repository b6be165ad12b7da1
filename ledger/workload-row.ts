import type { Requirements } from '../contracts/requirements';
import type { DeadlineKind, ExecutorKind, Gate, WorkloadState } from '../contracts/terminology';
import type { LeaseOutcome } from '../contracts/worker-protocol';
import type { WorkloadView } from '../contracts/workflow';
import { fairnessKey } from '../domain/identity';
import type { LaneSpec } from '../domain/lane-specs';
import type { WorkloadProgress, WorkloadTerms } from '../domain/workload-progress';
import { isOffered } from '../domain/workload-state';
import type { Queryable } from './database';

/** A row of `workloads`, with the ledger's clock at the moment it was read. */
export interface WorkloadRow {
  workload_id: string;
  tenant_id: string;
  source: string;
  action: string;
  event_id: string;
  subject: string | null;
  state: WorkloadState;
  reason: string;
  accepted_at: Date;
  updated_at: Date;
  ended_at: Date | null;
  rule_id: string | null;
  pool_id: string | null;
  executor: ExecutorKind | null;
  priority: number | null;
  /** What a worker must have declared to get it; null when its rule asks for nothing. */
  requires: Requirements | null;
  /** The schema of its newest checkpoint: only workers that read it may go on with it. */
  checkpoint_schema: number | null;
  terms: WorkloadTerms | null;
  delivery: number;
  attempts: number;
  max_deliveries: number;
  queued_until: Date | null;
  total_at: Date | null;
  late_until: Date | null;
  deadline_kind: DeadlineKind | null;
  deadline_at: Date | null;
  closed: boolean;
  may_still_run: boolean;
  corrected: boolean;
  double_execution: boolean;
  /** The lanes it has to pass, in order; null when its rule limits nothing. */
  lanes: LaneSpec[] | null;
  /** The gate it waits at; null when it may be offered. */
  waiting_for: Gate | null;
  /** When that gate opens by itself, if it is a matter of time. */
  opens_at: Date | null;
  wake_seq: string;
  news_seq: number;
  now: Date;
}

/**
 * Reads a workload and keeps every other change of it out until the transaction ends. The clock is read outside the locking
 * query: inside, it would show the moment at which the wait for the lock began.
 */
export async function lockWorkload(tx: Queryable, workloadId: string): Promise<WorkloadRow | null> {
  const [row] = await tx.query<WorkloadRow>(
    'SELECT w.*, clock_timestamp() AS now FROM (SELECT * FROM workloads WHERE workload_id = $1 FOR UPDATE) w',
    [workloadId],
  );
  return row ?? null;
}

/** Terms of a workload that no rule governs yet. */
const NO_TERMS: WorkloadTerms = {
  deadlines: { queued: 0, start: 0, run: 0, resume: 0, total: 0, late: 0 },
  hold: { deadline: 0, then: 'deny' },
  redeliverOn: [],
  maxDeliveries: 1,
};

const ms = (date: Date | null): number | null => (date === null ? null : date.getTime());

export function progressOf(row: WorkloadRow): WorkloadProgress {
  return {
    state: row.state,
    delivery: row.delivery,
    attempts: row.attempts,
    maxDeliveries: row.max_deliveries,
    queuedUntil: ms(row.queued_until),
    totalAt: ms(row.total_at),
    lateUntil: ms(row.late_until),
    deadline: row.deadline_kind && row.deadline_at ? { kind: row.deadline_kind, at: row.deadline_at.getTime() } : null,
    closed: row.closed,
    mayStillRun: row.may_still_run,
    waitingFor: row.waiting_for,
    terms: row.terms ?? NO_TERMS,
  };
}

/** Milliseconds to the next moment that changes something by itself: a deadline, or a gate that opens. */
export const waitMs = (row: Pick<WorkloadRow, 'closed' | 'deadline_at' | 'opens_at' | 'now'>): number | null => {
  if (row.closed || row.deadline_at === null) return null;
  const at = Math.min(row.deadline_at.getTime(), row.opens_at?.getTime() ?? Infinity);
  return Math.max(0, at - row.now.getTime());
};

/** What a worker is told of where its workload stands. */
export const outcomeOf = (row: WorkloadRow): LeaseOutcome => ({ state: row.state, wait_ms: waitMs(row) });

export function viewOf(row: WorkloadRow): WorkloadView {
  return {
    workload_id: row.workload_id,
    state: row.state,
    reason: row.reason,
    source: row.source,
    action: row.action,
    rule_id: row.rule_id,
    pool_id: row.pool_id,
    executor: row.executor,
    priority: row.priority ?? 3,
    fairness_key: fairnessKey(row.tenant_id),
    delivery: row.delivery,
    next: row.closed ? 'end' : isOffered({ state: row.state, waitingFor: row.waiting_for }) ? 'offer' : 'wait',
    wait_ms: waitMs(row),
    ...(row.lanes !== null && { laned: true as const }),
  };
}
