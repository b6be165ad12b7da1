import { ActivityCancellationType, CancellationScope, proxyActivities } from '@temporalio/workflow';
import { taskQueueOf } from '../contracts/names';
import type { DeliverResult, PoolActivities, WorkloadView } from '../contracts/workflow';

/** A worker that is silent for this long is lost and another one gets the task. */
const HEARTBEAT_TIMEOUT = '30 seconds';
const LONGEST_PAUSE_MS = 60_000;

/** One offering of a workload on its pool's queue, until a worker has handed it over or the offer ended. */
export class Offer {
  /** A worker answered, or nobody can any more. */
  finished = false;
  /** The offer ended without a worker's answer. */
  failed = false;
  private result: DeliverResult | null = null;
  private readonly scope = new CancellationScope();

  constructor(private readonly view: WorkloadView) {
    void this.scope
      .run(() => deliverOn(view))
      .then(
        (result) => (this.result = result),
        () => (this.failed = true),
      )
      .then(() => (this.finished = true));
  }

  /** Where the workload stands by the worker's answer; null when the ledger must be asked. */
  standing(view: WorkloadView): WorkloadView | null {
    const { result } = this;
    if (result?.state !== 'delivered' || view.next === 'end') return null;
    if (view.state !== 'queued') return view;
    return {
      ...view,
      state: 'delivered',
      reason: result.outcome,
      next: 'wait',
      wait_ms: result.wait_ms,
      delivery: view.delivery + 1,
    };
  }

  /** How long to wait before offering again after a failure. */
  get pauseMs(): number {
    return Math.min(Math.max((this.view.wait_ms ?? 0) / 100, 1000), LONGEST_PAUSE_MS);
  }

  withdraw(): void {
    if (!this.finished) this.scope.cancel();
  }
}

function deliverOn(view: WorkloadView): Promise<DeliverResult> {
  const { deliver } = proxyActivities<PoolActivities>({
    taskQueue: taskQueueOf(view.pool_id!),
    scheduleToCloseTimeout: Math.max(view.wait_ms ?? 0, 1000),
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '30 seconds' },
    cancellationType: ActivityCancellationType.TRY_CANCEL,
    priority: { priorityKey: view.priority, fairnessKey: view.fairness_key },
    summary: `${view.executor} delivery ${view.delivery + 1} by rule ${view.rule_id}`,
  });
  return deliver({ work_id: view.workload_id });
}
