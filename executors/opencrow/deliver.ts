import { randomBytes } from 'node:crypto';
import { Problem } from '../../contracts/problems';
import { Backoff, pause } from '../backoff';
import type { GrantedClaim } from '../control-plane-answers';
import { ControlPlaneUnavailable } from '../control-plane-client';
import { debugPoint } from '../../domain/debug-point';
import type { DeliveryContext, DeliveryOutcome, DeliveryTask } from '../executor';
import { endByRefusal, stopRequested, waitFor, type Again, type DeliveryTools } from './delivery-steps';
import { handOver } from './hand-over';
import { refusedClaim } from './refusals';

/** Shorter than any sensible heartbeat timeout, so that a slow answer of the api never looks like a dead worker. */
const HEARTBEAT_EVERY_MS = 2_000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 15_000;

/**
 * Delivers one workload to OpenCrow: open the pipe, claim, record the intent, write once, report. Waits inside, alive
 * and cancellable, for capacity, for the pipe and for the api; a write is never repeated once it may have happened.
 */
export async function deliver(
  task: DeliveryTask,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<DeliveryOutcome> {
  const progress: { waitingFor: string | null } = { waitingFor: null };
  const claimKey = randomBytes(24).toString('base64url');
  context.heartbeat(null);
  const heartbeats = setInterval(() => context.heartbeat(progress.waitingFor), HEARTBEAT_EVERY_MS);
  const backoff = new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
  try {
    for (;;) {
      const stopped = stopRequested(context);
      if (stopped) return stopped;
      const step = await attempt(task, claimKey, context, tools);
      if ('outcome' in step) return step;
      if (progress.waitingFor !== step.waitingFor) {
        context.logger.info({ waiting_for: step.waitingFor }, 'a delivery waits');
        progress.waitingFor = step.waitingFor;
        context.heartbeat(step.waitingFor);
        backoff.reset();
      }
      const news = step.waitingFor === 'capacity.worker' ? [tools.slotFreed()] : [];
      await pause(Math.max(backoff.next(), step.waitMs ?? 0), context.cancelSignal, context.drainSignal, ...news);
    }
  } finally {
    clearInterval(heartbeats);
  }
}

async function attempt(
  task: DeliveryTask,
  claimKey: string,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<DeliveryOutcome | Again> {
  const opening = tools.pipe.open();
  if (!opening.ok) return { again: true, waitingFor: opening.reason };
  try {
    debugPoint('before-claim');
    const claim = await claimWork(task, claimKey, context, tools);
    if ('outcome' in claim || 'again' in claim) return claim;
    debugPoint('after-claim');
    return await handOver(claim, opening.pipe, context, tools);
  } finally {
    opening.pipe.close();
  }
}

async function claimWork(
  task: DeliveryTask,
  claimKey: string,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<GrantedClaim | DeliveryOutcome | Again> {
  const restarted = tools.pipe.restartSeen;
  try {
    const claim = await context.control.claim({
      work_id: task.workId,
      claim_key: claimKey,
      ...(restarted ? { executor_restarted: true } : {}),
    });
    if (restarted) tools.pipe.restartReported();
    return claim;
  } catch (error) {
    if (error instanceof ControlPlaneUnavailable) return waitFor(error.why, error.retryAfterMs);
    if (!(error instanceof Problem)) throw error;
    const action = refusedClaim(error);
    if (action === 'wait' || action === 'again') return waitFor(error.code, error.retryAfterMs);
    return endByRefusal(error, action);
  }
}
