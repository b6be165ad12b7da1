import { randomBytes } from 'node:crypto';
import { Problem } from '../../contracts/problems';
import { Backoff, pause } from '../../domain/backoff';
import { refusedIntent } from '../claim-refusals';
import type { GrantedClaim, Lease } from '../control-plane-answers';
import { ControlPlaneUnavailable } from '../control-plane-client';
import { afterRefusal, stopRequested, waitFor, type Again } from '../delivery-loop';
import type { DeliveryContext, DeliveryOutcome } from '../executor';
import { releaseLease } from '../release-lease';

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
      await releaseLease(lease, context.cancelSignal.aborted ? 'cancelled' : 'draining', context);
      return stopped;
    }
    const askedAt = Date.now();
    try {
      const granted = await context.control.intent(lease, intentKey);
      const ttlMs = granted.ttl_ms - (Date.now() - askedAt);
      if (granted.delivery_id === deliveryId && ttlMs > 0) return { ttlMs };
      // A process that was frozen in between must not start what may be running elsewhere.
      await releaseLease(lease, 'stalled_after_intent', context);
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
  if (problem.code !== 'lease.stale') await releaseLease(lease, 'intent_refused', context);
  return afterRefusal(problem, action);
}
