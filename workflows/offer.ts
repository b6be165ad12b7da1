import {
  ActivityCancellationType,
  CancellationScope,
  patched,
  proxyActivities,
  type ActivityOptions,
} from '@temporalio/workflow';
import { taskQueueOf } from '../contracts/names';
import { livesByItsLease } from '../contracts/terminology';
import type { DeliverResult, ExecuteResult, PoolActivities, WorkloadView } from '../contracts/workflow';

/** A worker that is silent for this long is lost and another one gets the task. */
const HEARTBEAT_TIMEOUT = '30 seconds';
const LONGEST_PAUSE_MS = 60_000;
/** No rule has a deadline as late as this. */
const LONGEST_WAIT_MS = 100 * 24 * 3600 * 1000;

/**
 * Longer than the life of a worker's lease and the clocks' difference: when it passes, the ledger can tell what became of the
 * work. It decides nothing itself.
 */
const COMMAND_HEARTBEAT_TIMEOUT = '40 seconds';
/** Longer than any deadline of a rule: those are kept by the ledger. */
const COMMAND_MAY_TAKE = '100 days';
const COMMAND_PAUSE_MS = 5_000;

/** One offering of a workload on its pool's queue, until a worker has handed it over or ended it, or the offer ended. */
export class Offer {
  /** A worker answered, or nobody can any more. */
  finished = false;
  /** The offer ended without a worker's answer. */
  failed = false;
  private result: DeliverResult | ExecuteResult | null = null;
  private readonly scope = new CancellationScope();

  constructor(private readonly view: WorkloadView) {
    void this.scope
      .run((): Promise<DeliverResult | ExecuteResult> => (this.livesByItsLease ? executeOn(view) : deliverOn(view)))
      .then(
        (result) => (this.result = result),
        () => (this.failed = true),
      )
      .then(() => (this.finished = true));
  }

  /** The worker holds the offer while it works. */
  get livesByItsLease(): boolean {
    return livesByItsLease(this.view.executor);
  }

  /** Whether this is the offer of another delivery: its worker's lease is over, so the work must be offered anew. */
  isOutdatedBy(view: WorkloadView): boolean {
    return this.livesByItsLease && view.delivery !== this.view.delivery;
  }

  /**
   * Where the workload stands by the worker's answer; null when the ledger must be asked. Whoever polls the queue can answer: one
   * that is not true is found by the sweep.
   */
  standing(view: WorkloadView): WorkloadView | null {
    if (this.livesByItsLease || view.next === 'end' || !isDelivered(this.result)) return null;
    if (view.state !== 'queued') return view;
    const { outcome: reason, wait_ms } = this.result;
    return { ...view, state: 'delivered', reason, next: 'wait', wait_ms, delivery: view.delivery + 1 };
  }

  /** It failed, or was answered though nothing was done: by one who is not let in, who would take it again at once. */
  cameToNothing(view: WorkloadView): boolean {
    return this.failed || (view.delivery === this.view.delivery && patched('pause-after-nothing'));
  }

  /** How long to wait before offering again what came to nothing. */
  get pauseMs(): number {
    if (this.livesByItsLease) return COMMAND_PAUSE_MS;
    return Math.min(Math.max((this.view.wait_ms ?? 0) / 100, 1000), LONGEST_PAUSE_MS);
  }

  withdraw(): void {
    if (!this.finished) this.scope.cancel();
  }
}

/** Anything may have been answered. */
function isDelivered(result: DeliverResult | ExecuteResult | null): result is DeliverResult & { wait_ms: number } {
  if (result?.state !== 'delivered' || (result.outcome !== 'delivered' && result.outcome !== 'maybe_written'))
    return false;
  return typeof result.wait_ms === 'number' && result.wait_ms >= 0 && result.wait_ms <= LONGEST_WAIT_MS;
}

function deliverOn(view: WorkloadView): Promise<DeliverResult> {
  const { deliver } = proxyActivities<PoolActivities>({
    ...offered(view),
    scheduleToCloseTimeout: Math.max(view.wait_ms ?? 0, 1000),
    heartbeatTimeout: HEARTBEAT_TIMEOUT,
    cancellationType: ActivityCancellationType.TRY_CANCEL,
  });
  return deliver({ work_id: view.workload_id });
}

/**
 * A worker that is lost in mid-run ends the activity, since only the ledger knows whether the command may run again; one that hands
 * the task back does not.
 */
function executeOn(view: WorkloadView): Promise<ExecuteResult> {
  const options = offered(view);
  const { execute } = proxyActivities<PoolActivities>({
    ...options,
    scheduleToStartTimeout: Math.max(view.wait_ms ?? 0, 1000),
    startToCloseTimeout: COMMAND_MAY_TAKE,
    heartbeatTimeout: COMMAND_HEARTBEAT_TIMEOUT,
    retry: {
      ...options.retry,
      nonRetryableErrorTypes: ['TemporalTimeout:Heartbeat', 'TemporalTimeout:StartToClose'],
    },
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  });
  return execute({ work_id: view.workload_id });
}

const offered = (view: WorkloadView): ActivityOptions => ({
  taskQueue: taskQueueOf(view.pool_id!, view.executor ?? undefined),
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '30 seconds' },
  priority: { priorityKey: view.priority, fairnessKey: view.fairness_key },
  summary: `${view.executor} delivery ${view.delivery + 1} by rule ${view.rule_id}`,
});
