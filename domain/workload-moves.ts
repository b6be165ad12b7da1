import type { DeadlineKind, TerminalStatus, WorkloadState } from '../contracts/terminology';
import type { Transition, Verdict, WorkloadProgress } from './workload-progress';

/** States in which nothing more can happen without an operator. */
export const CLOSING: readonly WorkloadState[] = [
  'completed',
  'failed',
  'aborted',
  'dropped',
  'refused',
  'cancelled',
  'dead',
  'duplicate',
  'ignored',
  'denied',
];

/** The workload in its new state, with the clock that runs there. */
export function moved(
  progress: WorkloadProgress,
  state: WorkloadState,
  reason: string,
  now: number,
  verdict: Verdict = 'applied',
): Transition {
  const lateUntil = state === 'lost' ? now + progress.terms.deadlines.late : null;
  const closed = CLOSING.includes(state);
  const waitingFor = state === 'queued' || state === 'held' ? progress.waitingFor : null;
  const next: WorkloadProgress = { ...progress, state, lateUntil, closed, waitingFor, deadline: null };
  return { verdict, path: [state], reason, next: { ...next, deadline: deadlineIn(next, now) } };
}

function deadlineIn(progress: WorkloadProgress, now: number): WorkloadProgress['deadline'] {
  const { deadlines, hold } = progress.terms;
  const capped = (kind: DeadlineKind, at: number): { kind: DeadlineKind; at: number } =>
    progress.totalAt !== null && progress.totalAt <= at ? { kind: 'total', at: progress.totalAt } : { kind, at };
  switch (progress.state) {
    case 'held':
      return { kind: 'hold', at: now + hold.deadline };
    case 'queued':
      return capped('queued', progress.queuedUntil ?? now + deadlines.queued);
    case 'delivered':
      return capped('start', now + deadlines.start);
    case 'running':
      return capped('run', now + deadlines.run);
    case 'preempted':
      return capped('resume', now + deadlines.resume);
    case 'lost':
      return { kind: 'late', at: progress.lateUntil ?? now };
    default:
      return null;
  }
}

/** Refused: the state does not allow it. */
export function conflict(progress: WorkloadProgress, reason: string): Transition {
  return { verdict: 'conflict', path: [], reason, next: progress };
}

/** An end that the rule may answer with another delivery. */
export function orAgain(
  before: WorkloadProgress,
  end: Transition,
  outcome: 'lost' | TerminalStatus,
  now: number,
): Transition {
  return mayRedeliver(before, outcome, now) ? requeued(end, now) : end;
}

function mayRedeliver(progress: WorkloadProgress, outcome: 'lost' | TerminalStatus, now: number): boolean {
  return (
    progress.terms.redeliverOn.includes(outcome) &&
    progress.delivery < progress.maxDeliveries &&
    progress.totalAt !== null &&
    now < progress.totalAt
  );
}

function requeued(first: Transition, now: number): Transition {
  const queuedUntil = now + first.next.terms.deadlines.queued;
  const again = moved({ ...first.next, queuedUntil, attempts: 0 }, 'queued', first.reason, now);
  return { ...again, verdict: first.verdict, path: [...first.path, 'queued'] };
}
