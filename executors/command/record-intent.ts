import { randomBytes } from 'node:crypto';
import { Problem } from '../../contracts/problems';
import { Backoff, pause } from '../backoff';
import { refusedIntent } from '../claim-refusals';
import type { GrantedClaim, Lease } from '../control-plane-answers';
import { ControlPlaneUnavailable } from '../control-plane-client';
import { endByRefusal, stopRequested, waitFor, type Again } from '../delivery-loop';
import type { DeliveryContext, DeliveryOutcome } from '../executor';

/** A lease that was not released in this many tries ends by its own short life. */
const RELEASE_TRIES = 3;

/** The command may be started now. */
export interface MayRun {
  /** What is left of the lease's life, milliseconds. */
  ttlMs: number;
}

/** Records that the command is about to be started, or finds out that it must not be. Until it returns, nothing has run. */
export async function recordIntent(
  { lease, delivery_id: deliveryId }: GrantedClaim,
  context: DeliveryContext,
): Promise<MayRun | DeliveryOutcome | Again> {
  const intentKey = randomBytes(24).toString('base64url');
  const backoff = new Backoff(250, 5_000);
  for (;;) {
    const stopped = stopRequested(context);
    if (stopped) {
      await release(lease, context.cancelSignal.aborted ? 'cancelled' : 'draining', context);
      return stopped;
    }
    const askedAt = Date.now();
    try {
      const granted = await context.control.intent(lease, intentKey);
      const ttlMs = granted.ttl_ms - (Date.now() - askedAt);
      if (granted.delivery_id === deliveryId && ttlMs > 0) return { ttlMs };
      // A process that was frozen in between must not start what may be running elsewhere.
      await release(lease, 'stalled_after_intent', context);
      return waitFor('stalled_after_intent');
    } catch (error) {
      if (error instanceof Problem) return refused(error, lease, context);
      if (!(error instanceof ControlPlaneUnavailable)) throw error;
      await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), context.cancelSignal, context.drainSignal);
    }
  }
}

async function refused(problem: Problem, lease: Lease, context: DeliveryContext): Promise<DeliveryOutcome | Again> {
  const action = refusedIntent(problem);
  if (problem.code !== 'lease.stale') await release(lease, 'intent_refused', context);
  if (action === 'again' || action === 'wait') return waitFor(problem.code, problem.retryAfterMs);
  return endByRefusal(problem, action);
}

/** Gives back a lease under which nothing was started. Best effort: it is short-lived. */
export async function release(lease: Lease, reason: string, { control }: DeliveryContext): Promise<void> {
  const backoff = new Backoff(250, 1_000);
  for (let tries = 0; tries < RELEASE_TRIES; tries += 1) {
    try {
      await control.release(lease, reason);
      return;
    } catch (error) {
      if (error instanceof Problem) return;
      if (!(error instanceof ControlPlaneUnavailable)) throw error;
      await pause(backoff.next());
    }
  }
}
