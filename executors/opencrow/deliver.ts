import { randomBytes } from 'node:crypto';
import { debugPoint } from '../../domain/debug-point';
import { claimWork, untilSettled, type Again } from '../delivery-loop';
import type { DeliveryContext, DeliveryOutcome, DeliveryTask } from '../executor';
import type { DeliveryTools } from './delivery-tools';
import { handOver } from './hand-over';

/**
 * Delivers one workload to OpenCrow: open the pipe, claim, record the intent, write once, report. Waits inside, alive
 * and cancellable, for capacity, for the pipe and for the api; a write is never repeated once it may have happened.
 */
export function deliver(task: DeliveryTask, context: DeliveryContext, tools: DeliveryTools): Promise<DeliveryOutcome> {
  const claimKey = randomBytes(24).toString('base64url');
  return untilSettled(
    context,
    () => attempt(task, claimKey, context, tools),
    (waitingFor) => (waitingFor === 'capacity.worker' ? [tools.slotFreed()] : []),
  );
}

async function attempt(
  { workId }: DeliveryTask,
  claimKey: string,
  context: DeliveryContext,
  tools: DeliveryTools,
): Promise<DeliveryOutcome | Again> {
  const { pipe } = tools;
  const opening = pipe.open();
  if (!opening.ok) return { again: true, waitingFor: opening.reason };
  try {
    debugPoint('before-claim');
    const restarted = pipe.restartSeen;
    const claim = await claimWork(
      { work_id: workId, claim_key: claimKey, ...(restarted ? { executor_restarted: true } : {}) },
      context,
    );
    if ('outcome' in claim || 'again' in claim) return claim;
    if (restarted) pipe.restartReported();
    debugPoint('after-claim');
    return await handOver(claim, opening.pipe, context, tools);
  } finally {
    opening.pipe.close();
  }
}
