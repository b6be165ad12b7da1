import { ApplicationFailure, isCancellation, proxyActivities, proxyLocalActivities } from '@temporalio/workflow';
import { CONTROL_TASK_QUEUE } from '../contracts/names';
import type { ControlActivities, WorkloadView } from '../contracts/workflow';

const local = proxyLocalActivities<ControlActivities>({
  startToCloseTimeout: '10 seconds',
  retry: { maximumAttempts: 2, initialInterval: '100 milliseconds' },
});

const patient = proxyActivities<ControlActivities>({
  taskQueue: CONTROL_TASK_QUEUE,
  startToCloseTimeout: '30 seconds',
  retry: { initialInterval: '1 second', maximumInterval: '30 seconds' },
});

/** Decides the workload, or returns the decision there is. */
export const admit = (workloadId: string): Promise<WorkloadView> =>
  known(workloadId, insistently(local.admit, patient.admit, workloadId));

/** Applies what is due and returns where the workload stands. */
export const settle = (workloadId: string): Promise<WorkloadView> =>
  known(workloadId, insistently(local.settle, patient.settle, workloadId));

type Control = (workloadId: string) => Promise<WorkloadView | null>;

/**
 * A local activity that failed twice goes on as a normal one with unlimited retries: an outage of the ledger then costs no
 * workflow tasks and no history.
 */
async function insistently(quick: Control, slow: Control, workloadId: string): Promise<WorkloadView | null> {
  try {
    return await quick(workloadId);
  } catch (error) {
    if (isCancellation(error)) throw error;
    return slow(workloadId);
  }
}

async function known(workloadId: string, answer: Promise<WorkloadView | null>): Promise<WorkloadView> {
  const view = await answer;
  if (view === null)
    throw ApplicationFailure.nonRetryable(`the ledger has no workload ${workloadId}`, 'UnknownWorkload');
  return view;
}
