import type {
  DeadlineKind,
  Decision,
  Gate,
  LifecycleStatus,
  TerminalStatus,
  WorkloadState,
} from '../contracts/terminology';

/** The durations a workload runs against, in milliseconds. */
export type Deadlines = Record<Exclude<DeadlineKind, 'hold'>, number>;

/** What of a rule governs the way of a workload after admission. */
export interface WorkloadTerms {
  deadlines: Deadlines;
  hold: { deadline: number; then: 'deny' | 'dispatch' };
  redeliverOn: readonly ('lost' | TerminalStatus)[];
  maxDeliveries: number;
}

/** Everything the transition function looks at. Times are milliseconds of the ledger's clock. */
export interface WorkloadProgress {
  state: WorkloadState;
  /** Number of the latest delivery with an intent; 0 before the first. */
  delivery: number;
  /** Claims that ended without an intent through the worker's fault. */
  attempts: number;
  /** Deliveries this workload may have in all; grows by one with each operator redelivery. */
  maxDeliveries: number;
  /** The offer of the present delivery ends here, give-backs included; null before the workload was queued. */
  queuedUntil: number | null;
  /** No delivery may be started or awaited past this; null before the workload was queued. */
  totalAt: number | null;
  /** A lost workload can be corrected until this; null unless lost. */
  lateUntil: number | null;
  deadline: { kind: DeadlineKind; at: number } | null;
  /** Nothing more can happen without an operator. */
  closed: boolean;
  mayStillRun: boolean;
  /** The gate it has to pass before it is offered; null when none is left. Only while held or queued. */
  waitingFor: Gate | null;
  terms: WorkloadTerms;
}

/**
 * How work ended by its worker's own report. `refused`: it was not run. `lost`: nobody knows whether it was. `aborted`: its worker gave
 * managed work up.
 */
export type ExecutedOutcome = 'completed' | 'failed' | 'aborted' | 'refused' | 'lost';

/** A thing that happened, or that somebody asked for. */
export type Fact =
  | {
      type: 'admitted';
      decision: Decision;
      reason: string;
      gate?: Gate | null;
      /** The work cannot be done by anybody: why. Absent when it can. */
      refused?: string;
    }
  | { type: 'opened'; next: Gate | null }
  | { type: 'superseded'; how: 'superseded' | 'debounced' }
  | { type: 'approved' }
  | { type: 'approval_denied' }
  | { type: 'intent' }
  | { type: 'not_delivered' }
  | { type: 'attempt_failed' }
  | { type: 'undeliverable'; reason: string }
  | { type: 'lifecycle'; delivery: number; status: LifecycleStatus }
  | {
      type: 'executed';
      delivery: number;
      outcome: ExecutedOutcome;
      reason: string;
      /** A delivery before this one may have run, so that the workload as a whole is not `refused`. Default false. */
      ranBefore?: boolean;
    }
  | { type: 'lease_expired' }
  | { type: 'deadline' }
  | { type: 'cancelled' }
  | { type: 'redelivered'; gate?: Gate | null }
  | { type: 'resolved'; outcome: TerminalStatus };

/** How a fact was taken. `recorded` changes nothing; `conflict` is refused with the reason. */
export type Verdict =
  'applied' | 'corrected' | 'recorded' | 'double_execution' | 'unknown_delivery' | 'too_late' | 'conflict';

export interface Transition {
  verdict: Verdict;
  /** States passed through, in order; empty when nothing changed. */
  path: WorkloadState[];
  /** Stable code of why; goes to the ledger, the API and the Web UI. */
  reason: string;
  next: WorkloadProgress;
}
