import type { Decision, Gate, LifecycleStatus, TerminalStatus, WorkloadState } from '../contracts/terminology';
import { conflict, moved, orAgain } from './workload-moves';
import type { Fact, Transition, Verdict, WorkloadProgress } from './workload-progress';

/** Free attempts before a workload is given up as `dead`. */
export const MAX_ATTEMPTS = 3;

const AWAITING_EXECUTOR: readonly WorkloadState[] = ['delivered', 'running', 'preempted'];
const BEFORE_INTENT: readonly WorkloadState[] = ['accepted', 'held', 'queued'];
const REDELIVERABLE: readonly WorkloadState[] = [
  'lost',
  'failed',
  'aborted',
  'dropped',
  'refused',
  'dead',
  'cancelled',
];

/** A workload may be handed over now: it is queued and has passed every gate. */
export const isOffered = ({ state, waitingFor }: Pick<WorkloadProgress, 'state' | 'waitingFor'>): boolean =>
  state === 'queued' && waitingFor === null;

/** An operator may have it handed over once more. */
export const isRedeliverable = (state: WorkloadState): boolean => REDELIVERABLE.includes(state);

export const isAwaitingExecutor = (state: WorkloadState): boolean => AWAITING_EXECUTOR.includes(state);

/**
 * The one place where a workload's state is decided: pure, and total over every fact in every state and order.
 * `now` is the ledger's clock in milliseconds.
 */
export function transition(progress: WorkloadProgress, fact: Fact, now: number): Transition {
  switch (fact.type) {
    case 'admitted':
      if (progress.state !== 'accepted') return conflict(progress, 'already_admitted');
      if (fact.refused !== undefined) return moved(progress, 'refused', fact.refused, now);
      return admitted({ ...progress, waitingFor: fact.gate ?? null }, fact.decision, fact.reason, now);
    case 'approved':
      return progress.state === 'held' ? enqueue(progress, now, 'approved') : conflict(progress, 'not_held');
    case 'approval_denied':
      return progress.state === 'held'
        ? moved(progress, 'denied', 'approval_denied', now)
        : conflict(progress, 'not_held');
    case 'opened':
      return opened(progress, fact.next, now);
    case 'superseded':
      return cancelled(progress, now, fact.how);
    case 'intent':
      return isOffered(progress)
        ? moved({ ...progress, delivery: progress.delivery + 1 }, 'delivered', 'intent_recorded', now)
        : conflict(progress, 'not_queued');
    case 'not_delivered':
      return notDelivered(progress, now);
    case 'attempt_failed':
      return attemptFailed(progress, now);
    case 'undeliverable':
      return isOffered(progress)
        ? moved(progress, progress.delivery > 0 ? 'lost' : 'refused', fact.reason, now)
        : conflict(progress, 'not_queued');
    case 'lifecycle':
      return lifecycle(progress, fact.delivery, fact.status, now);
    case 'executed':
      return executed(progress, fact, now);
    case 'lease_expired':
      return leaseExpired(progress, now);
    case 'deadline':
      return deadline(progress, now);
    case 'cancelled':
      return cancelled(progress, now);
    case 'redelivered':
      return redelivered(progress, fact.gate ?? null, now);
    case 'resolved':
      return progress.state === 'lost'
        ? moved({ ...progress, mayStillRun: false }, fact.outcome, 'resolved_by_operator', now, 'corrected')
        : conflict(progress, 'not_lost');
  }
}

const STATE_OF_DECISION = { hold: 'held', ignore: 'ignored', deny: 'denied', duplicate: 'duplicate' } as const;

function admitted(progress: WorkloadProgress, decision: Decision, reason: string, now: number): Transition {
  return decision === 'dispatch'
    ? enqueue(progress, now, reason)
    : moved(progress, STATE_OF_DECISION[decision], reason, now);
}

function enqueue(progress: WorkloadProgress, now: number, reason: string): Transition {
  const { queued, total } = progress.terms.deadlines;
  const told = progress.waitingFor === null ? reason : waitingReason(progress.waitingFor);
  return moved({ ...progress, queuedUntil: now + queued, totalAt: now + total, attempts: 0 }, 'queued', told, now);
}

const waitingReason = (gate: Gate): string => `waiting_for_${gate}`;

/** A gate opened; the next one, if there is any, is waited for. */
function opened(progress: WorkloadProgress, next: Gate | null, now: number): Transition {
  if (progress.state !== 'queued' || progress.waitingFor === null) return conflict(progress, 'not_waiting');
  const reason = next === null ? 'turn_came' : waitingReason(next);
  return moved({ ...progress, waitingFor: next }, 'queued', reason, now);
}

/** The number is given back also when the workload went on without the delivery; then its state stays what it came to. */
function notDelivered(progress: WorkloadProgress, now: number): Transition {
  const delivery = progress.delivery - 1;
  if (progress.state === 'delivered') return moved({ ...progress, delivery }, 'queued', 'not_delivered', now);
  if (delivery < 0 || isAwaitingExecutor(progress.state)) return conflict(progress, 'not_delivered_state');
  const mayStillRun = progress.mayStillRun && delivery > 0;
  return { verdict: 'applied', path: [], reason: 'not_delivered', next: { ...progress, delivery, mayStillRun } };
}

function attemptFailed(progress: WorkloadProgress, now: number): Transition {
  if (!isOffered(progress)) return conflict(progress, 'not_queued');
  const attempts = progress.attempts + 1;
  if (attempts < MAX_ATTEMPTS) {
    return { verdict: 'applied', path: [], reason: 'attempt_failed', next: { ...progress, attempts } };
  }
  return moved({ ...progress, attempts }, progress.delivery > 0 ? 'lost' : 'dead', 'attempts_exhausted', now);
}

/** Lifecycle is evidence: always recorded, and this says what it changes. */
function lifecycle(progress: WorkloadProgress, delivery: number, status: LifecycleStatus, now: number): Transition {
  const unchanged = (verdict: Verdict, reason: string): Transition => ({ verdict, path: [], reason, next: progress });
  if (delivery < 1 || delivery > progress.delivery) return unchanged('unknown_delivery', 'delivery_never_made');
  if (delivery < progress.delivery) return unchanged('double_execution', 'stale_delivery');

  const awaited = isAwaitingExecutor(progress.state);
  const redelivering = progress.state === 'queued';
  if (awaited || redelivering) {
    const verdict = redelivering ? 'corrected' : 'applied';
    if (status === 'running') return moved(progress, 'running', 'executor_running', now, verdict);
    if (status === 'preempted') return moved(progress, 'preempted', 'executor_preempted', now, verdict);
    return ended(progress, status, now, verdict);
  }
  if (progress.state === 'lost' && isTerminal(status)) {
    return progress.lateUntil !== null && now <= progress.lateUntil
      ? moved(progress, status, 'late_correction', now, 'corrected')
      : unchanged('too_late', 'late_window_over');
  }
  const startedAgain = status === 'running' && progress.state !== 'lost' && !progress.mayStillRun;
  return startedAgain ? unchanged('double_execution', 'running_after_end') : unchanged('recorded', 'no_effect');
}

function ended(progress: WorkloadProgress, status: TerminalStatus, now: number, verdict: Verdict): Transition {
  return orAgain(progress, moved(progress, status, `executor_${status}`, now, verdict), status, now);
}

/** The worker that ran it says how the work ended; of a cancelled one, that it is over. */
function executed(
  progress: WorkloadProgress,
  { delivery, outcome, reason, ranBefore = false }: Extract<Fact, { type: 'executed' }>,
  now: number,
): Transition {
  if (delivery !== progress.delivery) return conflict(progress, 'stale_delivery');
  if (progress.state === 'cancelled' && progress.mayStillRun) {
    return { verdict: 'applied', path: [], reason, next: { ...progress, mayStillRun: false } };
  }
  if (!isAwaitingExecutor(progress.state)) return conflict(progress, 'not_under_way');
  if (outcome === 'refused') return moved(progress, ranBefore ? 'lost' : 'refused', reason, now);
  return orAgain(progress, moved(progress, outcome, reason, now), outcome, now);
}

/** A command's worker was not heard of for as long as its lease lives. */
function leaseExpired(progress: WorkloadProgress, now: number): Transition {
  if (!isAwaitingExecutor(progress.state)) {
    return { verdict: 'recorded', path: [], reason: 'not_under_way', next: progress };
  }
  return orAgain(progress, moved(progress, 'lost', 'lease_expired', now), 'lost', now);
}

function deadline(progress: WorkloadProgress, now: number): Transition {
  const due = progress.deadline;
  if (due === null || due.at > now || progress.closed) {
    return { verdict: 'recorded', path: [], reason: 'not_due', next: progress };
  }
  const reason = due.kind === 'queued' ? 'queue_deadline' : `${due.kind}_deadline`;
  switch (progress.state) {
    case 'held':
      return progress.terms.hold.then === 'dispatch'
        ? enqueue(progress, now, reason)
        : moved(progress, 'denied', reason, now);
    case 'queued':
      return moved(progress, progress.delivery > 0 ? 'lost' : 'refused', reason, now);
    case 'delivered':
    case 'running':
    case 'preempted':
      return orAgain(progress, moved(progress, 'lost', reason, now), 'lost', now);
    case 'lost':
      return {
        verdict: 'applied',
        path: [],
        reason: 'late_window_over',
        next: { ...progress, closed: true, deadline: null },
      };
    default:
      return { verdict: 'recorded', path: [], reason: 'not_due', next: progress };
  }
}

function cancelled(progress: WorkloadProgress, now: number, reason?: string): Transition {
  if (isAwaitingExecutor(progress.state)) {
    return moved({ ...progress, mayStillRun: true }, 'cancelled', reason ?? 'cancelled_after_intent', now);
  }
  if (BEFORE_INTENT.includes(progress.state)) {
    const mayStillRun = progress.delivery > 0;
    return moved({ ...progress, mayStillRun }, 'cancelled', reason ?? 'cancelled_before_intent', now);
  }
  return conflict(progress, 'already_ended');
}

function redelivered(progress: WorkloadProgress, waitingFor: Gate | null, now: number): Transition {
  if (!isRedeliverable(progress.state)) return conflict(progress, 'not_redeliverable');
  const maxDeliveries = Math.max(progress.maxDeliveries, progress.delivery + 1);
  const reopened = { ...progress, maxDeliveries, mayStillRun: false, lateUntil: null, closed: false, waitingFor };
  return enqueue(reopened, now, 'redelivered_by_operator');
}

function isTerminal(status: LifecycleStatus): status is TerminalStatus {
  return status !== 'running' && status !== 'preempted';
}
