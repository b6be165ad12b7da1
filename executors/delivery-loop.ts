import { Problem } from '../contracts/problems';
import type { ClaimRequest } from '../contracts/worker-protocol';
import { Backoff, pause } from '../domain/backoff';
import { refusedClaim, stopsPolling, type RefusalAction } from './claim-refusals';
import { standingOf, type GrantedClaim } from './control-plane-answers';
import { ControlPlaneUnavailable } from './control-plane-client';
import type { DeliveryContext, DeliveryOutcome } from './executor';

/** Shorter than any sensible heartbeat timeout, so that a slow answer of the api never looks like a dead worker. */
const HEARTBEAT_EVERY_MS = 2_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;
const HAND_BACK_DELAY_MS = 10_000;

/** Nothing was handed over: try once more, after `waitMs` or the usual backoff. */
export interface Again {
  again: true;
  /** What is waited for: a problem code, a reason of the executor, or why the api could not be asked. */
  waitingFor: string;
  /** Milliseconds the other side asked to wait. */
  waitMs?: number;
}

/**
 * Attempts a delivery until it has an outcome, alive and cancellable in between. `news` gives what may end a wait early, by what
 * is waited for.
 */
export async function untilSettled(
  context: DeliveryContext,
  attempt: () => Promise<DeliveryOutcome | Again>,
  news: (waitingFor: string) => AbortSignal[] = () => [],
): Promise<DeliveryOutcome> {
  const progress: { waitingFor: string | null } = { waitingFor: null };
  context.heartbeat(null);
  const heartbeats = setInterval(() => context.heartbeat(progress.waitingFor), HEARTBEAT_EVERY_MS);
  const backoff = new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
  try {
    for (;;) {
      const stopped = stopRequested(context);
      if (stopped) return stopped;
      const step = await attempt();
      if ('outcome' in step) return step;
      if (progress.waitingFor !== step.waitingFor) {
        context.logger.info({ waiting_for: step.waitingFor }, 'a delivery waits');
        progress.waitingFor = step.waitingFor;
        context.heartbeat(step.waitingFor);
        backoff.reset();
      }
      const sooner = [context.cancelSignal, context.drainSignal, ...news(step.waitingFor)];
      await pause(Math.max(backoff.next(), step.waitMs ?? 0), ...sooner);
    }
  } finally {
    clearInterval(heartbeats);
  }
}

/** Asks for the right to act for a workload. A refusal says how the delivery goes on. */
export async function claimWork(
  request: ClaimRequest,
  { control }: DeliveryContext,
): Promise<GrantedClaim | DeliveryOutcome | Again> {
  try {
    return await control.claim(request);
  } catch (error) {
    if (error instanceof ControlPlaneUnavailable) return waitFor(error.why, error.retryAfterMs);
    if (!(error instanceof Problem)) throw error;
    return afterRefusal(error, refusedClaim(error));
  }
}

/** How a delivery that has handed over nothing ends when it is cancelled or the process drains; null to go on. */
export function stopRequested(context: DeliveryContext): DeliveryOutcome | null {
  if (context.cancelSignal.aborted) return { outcome: 'cancelled' };
  if (!context.drainSignal.aborted) return null;
  return { outcome: 'hand_back', reason: 'draining', retryAfterMs: 0, stopPolling: true };
}

/** How a delivery goes on after a refusal of the control plane. */
export function afterRefusal(problem: Problem, action: RefusalAction): DeliveryOutcome | Again {
  if (action === 'wait' || action === 'again') return waitFor(problem.code, problem.retryAfterMs);
  if (action === 'done') return { outcome: 'not_needed', ...standingOf(problem) };
  const retryAfterMs = problem.retryAfterMs ?? HAND_BACK_DELAY_MS;
  return { outcome: 'hand_back', reason: problem.code, retryAfterMs, stopPolling: stopsPolling(problem) };
}

/** One more try later. */
export function waitFor(waitingFor: string, waitMs?: number): Again {
  return { again: true, waitingFor, ...(waitMs === undefined ? {} : { waitMs }) };
}
