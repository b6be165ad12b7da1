import { randomBytes } from 'node:crypto';
import { Problem } from '../../contracts/problems';
import type { IntentGranted } from '../../contracts/worker-protocol';
import { Backoff, pause } from '../../domain/backoff';
import type { GrantedClaim } from '../control-plane-answers';
import { refusedIntent } from '../claim-refusals';
import { ControlPlaneUnavailable } from '../control-plane-client';
import { afterRefusal, stopRequested, waitFor, type Again } from '../delivery-loop';
import { debugPoint } from '../../domain/debug-point';
import type { DeliveryContext, DeliveryOutcome } from '../executor';
import type { DeliveryTools } from './delivery-tools';
import type { HeldLease } from './lease-folder';
import { keep, releaseUnused, report } from './outcome-report';
import { buildTriggerLine } from './trigger-line';
import type { OpenTriggerPipe, PipeWrite } from './trigger-pipe';

/** Longest time from asking for the intent to the write, if the start deadline is not before it. */
const STALE_INTENT_MS = 30_000;

interface RecordedIntent {
  granted: IntentGranted;
  /** When the granting answer was asked for, Unix milliseconds. */
  askedAt: number;
}

/** From a granted claim to a reported outcome. Whatever is thrown here leaves the lease's file for the next start. */
export async function handOver(
  claim: GrantedClaim,
  pipe: OpenTriggerPipe,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<DeliveryOutcome | Again> {
  const held: HeldLease = { lease: claim.lease, deliveryId: claim.delivery_id, phase: 'claimed' };
  const log = context.logger.child({ delivery_id: claim.delivery_id, epoch: claim.epoch });
  if (!(await keep(held, tools, context))) {
    await releaseUnused(held, 'lease_folder', context, tools);
    return { outcome: 'hand_back', reason: 'lease_folder', retryAfterMs: 15_000, stopPolling: false };
  }
  const { delivery_id: deliveryId, event, trigger, capability, absorbed } = claim;
  const built = buildTriggerLine({ deliveryId, event, trigger, capability, absorbed });
  if (!built.ok) {
    log.warn({ code: built.code, detail: built.detail }, 'a workload cannot be written as a trigger line');
    return refuse(held, built, context, tools);
  }
  const intent = await recordIntent(held, context, tools);
  if (!('granted' in intent)) return intent;
  debugPoint('after-intent');
  const obstacle = obstacleToWriting(claim, intent);
  const write: PipeWrite = obstacle ? { result: 'not_delivered', reason: obstacle } : pipe.write(built.line);
  debugPoint('after-write');
  return settleWrite(held, write, context, tools);
}

/** A process that was frozen after its intent must not write hours later: the delivery may have been given up meanwhile. */
function obstacleToWriting(claim: GrantedClaim, intent: RecordedIntent): string | null {
  if (intent.granted.delivery_id !== claim.delivery_id) return 'delivery_id_changed';
  const limit = Math.min(STALE_INTENT_MS, intent.granted.ttl_ms);
  return Date.now() - intent.askedAt > limit ? 'stalled_after_intent' : null;
}

/** Records the intent, or finds out that nothing may be written. Until it returns, nothing has been. */
async function recordIntent(
  held: HeldLease,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<RecordedIntent | DeliveryOutcome | Again> {
  const stopped = stopRequested(context);
  if (stopped || !(await keep({ ...held, phase: 'intended' }, tools, context))) {
    await releaseUnused(held, stopped ? stopReason(context) : 'lease_folder', context, tools);
    return stopped ?? { outcome: 'hand_back', reason: 'lease_folder', retryAfterMs: 15_000, stopPolling: false };
  }
  debugPoint('before-intent');
  const intentKey = randomBytes(24).toString('base64url');
  const backoff = new Backoff(250, 5_000);
  for (;;) {
    const askedAt = Date.now();
    try {
      return { granted: await context.control.intent(held.lease, intentKey), askedAt };
    } catch (error) {
      if (error instanceof Problem) return intentRefused(held, error, context, tools);
      if (!(error instanceof ControlPlaneUnavailable)) throw error;
      await pause(Math.max(backoff.next(), error.retryAfterMs ?? 0), context.cancelSignal, context.drainSignal);
      const stop = stopRequested(context);
      if (!stop) continue;
      // The intent may be recorded, but nothing was written and nothing will be: that is a proven non-delivery.
      await report({ ...held, phase: 'not_delivered', detail: stopReason(context) }, context, tools);
      return stop;
    }
  }
}

async function intentRefused(
  held: HeldLease,
  problem: Problem,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<DeliveryOutcome | Again> {
  const action = refusedIntent(problem);
  if (action === 'hand_back' || problem.code !== 'lease.stale') {
    await releaseUnused(held, 'intent_refused', context, tools);
  } else {
    await tools.leases.drop(held.lease);
  }
  return afterRefusal(problem, action);
}

async function settleWrite(
  held: HeldLease,
  write: PipeWrite,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<DeliveryOutcome | Again> {
  if (write.result === 'not_delivered') {
    if (write.reason === 'EPIPE') tools.pipe.noteReaderGone();
    await report({ ...held, phase: 'not_delivered', detail: write.reason }, context, tools);
    return waitFor(write.reason);
  }
  const known: HeldLease =
    write.result === 'written' ? { ...held, phase: 'written' } : { ...held, phase: 'unknown', detail: write.detail };
  const answer = await report(known, context, tools);
  debugPoint('after-report');
  return {
    outcome: write.result === 'written' ? 'delivered' : 'maybe_written',
    state: answer?.state ?? null,
    waitMs: answer?.wait_ms ?? null,
  };
}

/** Tells the control plane that this workload has no trigger line. */
async function refuse(
  held: HeldLease,
  refusal: { code: string; detail: string },
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<DeliveryOutcome | Again> {
  try {
    const answer = await context.control.fail(held.lease, {
      code: refusal.code,
      detail: refusal.detail,
      retryable: false,
    });
    await tools.leases.drop(held.lease);
    return { outcome: 'refused', state: answer.state, waitMs: answer.wait_ms };
  } catch (error) {
    await tools.leases.drop(held.lease);
    if (error instanceof Problem) return waitFor(error.code, error.retryAfterMs);
    if (error instanceof ControlPlaneUnavailable) return waitFor(error.why, error.retryAfterMs);
    throw error;
  }
}

function stopReason(context: DeliveryContext): string {
  return context.cancelSignal.aborted ? 'cancelled' : 'draining';
}
