import type { Problem } from '../../contracts/problems';
import { standingOf } from '../control-plane-answers';
import type { DeliveryContext, DeliveryOutcome } from '../executor';
import type { HeldLease, LeaseFolder } from './lease-folder';
import type { PipeWatch } from './pipe-watch';
import { stopsPolling } from './refusals';

const HAND_BACK_DELAY_MS = 10_000;

/** What a delivery works with, made once per process. */
export interface DeliveryTools {
  pipe: PipeWatch;
  leases: LeaseFolder;
  /** Goes on reporting a lease in the background, after the delivery has ended. */
  reportLater(held: HeldLease): void;
  /** Aborted when an executor's end was reported, which may have freed a slot; a new one each time. */
  slotFreed(): AbortSignal;
}

/** Nothing was handed over: try once more, after `waitMs` or the usual backoff. */
export interface Again {
  again: true;
  /** What is waited for: a problem code, a reason of the pipe, or why the api could not be asked. */
  waitingFor: string;
  /** Milliseconds the other side asked to wait. */
  waitMs?: number;
}

/** How a delivery that has handed over nothing ends when it is cancelled or the process drains; null to go on. */
export function stopRequested(context: DeliveryContext): DeliveryOutcome | null {
  if (context.cancelSignal.aborted) return { outcome: 'cancelled' };
  if (!context.drainSignal.aborted) return null;
  return { outcome: 'hand_back', reason: 'draining', retryAfterMs: 0, stopPolling: true };
}

/** Turns a refusal of the control plane into an outcome. */
export function endByRefusal(problem: Problem, action: 'hand_back' | 'done'): DeliveryOutcome {
  if (action === 'done') return { outcome: 'not_needed', ...standingOf(problem) };
  const retryAfterMs = problem.retryAfterMs ?? HAND_BACK_DELAY_MS;
  return { outcome: 'hand_back', reason: problem.code, retryAfterMs, stopPolling: stopsPolling(problem) };
}

/** One more try later. */
export function waitFor(waitingFor: string, waitMs?: number): Again {
  return { again: true, waitingFor, ...(waitMs === undefined ? {} : { waitMs }) };
}
