import type { ExecutorKind, WorkloadState } from './terminology';

/** Types that cross Temporal: ids, codes and short summaries only, since history is durable and readable. */

export const WORKLOAD_WORKFLOW = 'workload';

/** Looks after the fleet; its Schedule has one id in a namespace. */
export const FLEET_SWEEP_WORKFLOW = 'fleetSweep';
export const FLEET_SWEEP_SCHEDULE = 'fleet-sweep';

export interface WorkloadInput {
  workload_id: string;
}

/** Where a workload stands by the ledger, and what its workflow has to do next. */
export interface WorkloadView {
  workload_id: string;
  state: WorkloadState;
  reason: string;
  source: string;
  action: string;
  rule_id: string | null;
  pool_id: string | null;
  executor: ExecutorKind | null;
  priority: number;
  /** Hash of the tenant: Temporal shares a pool's queue fairly between them. */
  fairness_key: string;
  delivery: number;
  /** offer: put it on its pool's queue. wait: for a wake or the deadline. end: nothing more can happen. */
  next: 'offer' | 'wait' | 'end';
  /** Milliseconds to the next deadline by the ledger's clock; null when `end`. */
  wait_ms: number | null;
  /**
   * A command is under way: milliseconds until its worker's lease runs out, for when no worker is being waited for. Absent
   * otherwise.
   */
  lease_ms?: number;
  /** It is in lanes, where it waits for others or others for it; absent otherwise. */
  laned?: true;
}

/**
 * Signal `wake`: the ledger has something new. What it carries is for display and earlier timers only; truth is re-read.
 */
export const WAKE_SIGNAL = 'wake';
export interface Wake {
  state: WorkloadState;
  wait_ms: number | null;
  /** Nobody has it, though its offer was taken: it is to be offered again. Absent otherwise. */
  offer_again?: true;
}

/** Input of the activity `deliver` on a pool's queue. */
export interface DeliverInput {
  work_id: string;
}
/** `settled` says where the control plane said the workload stood; `not_needed` that nothing had to be done. */
export interface DeliverResult {
  outcome: 'delivered' | 'maybe_written' | 'refused' | 'not_needed';
  state: WorkloadState | null;
  wait_ms: number | null;
}

/** Result of a workload's workflow, as the Web UI shows it. */
export interface WorkloadSummary {
  state: WorkloadState;
  reason: string;
  rule: string | null;
  deliveries: number;
}

/** Activities of the control worker, by ids; null means the ledger has no such workload. */
export interface ControlActivities {
  admit(workloadId: string): Promise<WorkloadView | null>;
  settle(workloadId: string): Promise<WorkloadView | null>;
  /** Looks after the fleet once; how much was changed. */
  sweepFleet(): Promise<number>;
}

/** `finished`: the command has ended and the ledger took its outcome; the others as for a delivery. */
export interface ExecuteResult {
  outcome: 'finished' | 'maybe_run' | 'refused' | 'not_needed';
  state: WorkloadState | null;
  wait_ms: number | null;
}

/** Activities of a pool worker: `deliver` for OpenCrow, `execute` for commands. */
export interface PoolActivities {
  deliver(input: DeliverInput): Promise<DeliverResult>;
  execute(input: DeliverInput): Promise<ExecuteResult>;
}
