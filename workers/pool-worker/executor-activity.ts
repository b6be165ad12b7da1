import { ApplicationFailure, Context } from '@temporalio/activity';
import type { Logger } from 'pino';
import type { DeliverInput, DeliverResult, ExecuteResult } from '../../contracts/workflow';
import type { ControlPlaneClient } from '../../executors/control-plane-client';
import type { DeliveryHandedBack, DeliveryOutcome, Executor } from '../../executors/executor';

export interface ExecutorActivityOptions {
  executor: Executor;
  control: ControlPlaneClient;
  /** Aborted when this worker stops polling: what is not handed over goes back. */
  drainSignal: AbortSignal;
  /** Aborted when the control plane lets this worker in no more. */
  shutOutSignal: AbortSignal;
  /** The ids that are being delivered. */
  active: Set<string>;
  /** The control plane says that this worker cannot work now. */
  onRefused: (reason: string) => void;
  logger: Logger;
}

/** The shortest delay the server takes for one. */
const LEAST_DELAY_MS = 1;

/** What the activity returns to the workflow. */
type ActivityResult = Omit<DeliverResult, 'outcome'> & { outcome: DeliverResult['outcome'] | ExecuteResult['outcome'] };

/** The activity `deliver` or `execute`: one call of the executor, its outcome told in Temporal's terms. */
export function executorActivity(options: ExecutorActivityOptions): (input: DeliverInput) => Promise<ActivityResult> {
  return async ({ work_id: workId }) => {
    options.active.add(workId);
    try {
      return await answerFor(await attempt(workId, options), options);
    } finally {
      options.active.delete(workId);
    }
  };
}

async function attempt(
  workId: string,
  { executor, control, drainSignal, shutOutSignal, logger }: ExecutorActivityOptions,
): Promise<DeliveryOutcome> {
  const activity = Context.current();
  const log = logger.child({ workload_id: workId });
  try {
    return await executor.deliver(
      { workId },
      {
        control,
        heartbeat: (waitingFor) => activity.heartbeat(waitingFor),
        cancelSignal: activity.cancellationSignal,
        drainSignal,
        shutOutSignal,
        logger: log,
      },
    );
  } catch (error) {
    log.error({ err: error }, 'a delivery failed by a defect; it is offered again');
    throw retryable('executor.defect');
  }
}

async function answerFor(outcome: DeliveryOutcome, options: ExecutorActivityOptions): Promise<ActivityResult> {
  switch (outcome.outcome) {
    case 'hand_back':
      throw handedBack(outcome, options);
    case 'cancelled':
      // Rejects with the reason, which tells a cancelled task from one that a shutdown cut off.
      await Context.current().cancelled;
      throw retryable('cancelled');
    default:
      return { outcome: outcome.outcome, state: outcome.state, wait_ms: outcome.waitMs };
  }
}

function handedBack(
  { reason, retryAfterMs, stopPolling }: DeliveryHandedBack,
  options: ExecutorActivityOptions,
): ApplicationFailure {
  if (stopPolling && !options.drainSignal.aborted) options.onRefused(reason);
  return retryable(reason, Math.max(Math.ceil(retryAfterMs), LEAST_DELAY_MS));
}

/** A failure goes into durable history, so it holds a code and nothing else. */
function retryable(code: string, nextRetryDelay?: number): ApplicationFailure {
  const failure = ApplicationFailure.create({
    message: code,
    type: 'HandedBack',
    ...(nextRetryDelay === undefined ? {} : { nextRetryDelay }),
  });
  failure.stack = '';
  return failure;
}
