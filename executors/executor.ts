import type { Logger } from 'pino';
import type { ExecutorKind, WorkloadState } from '../contracts/terminology';
import type { ControlPlaneClient } from './control-plane-client';

/** What the pool worker hands to an executor: one workload that its pool's queue offered. */
export interface DeliveryTask {
  workId: string;
}

/** What an executor may use while it delivers. Times out nothing by itself: it ends by outcome, cancel or drain. */
export interface DeliveryContext {
  /** The only way to the ledger. */
  control: ControlPlaneClient;
  /** Tells the queue that this delivery is alive, and what it waits for (a short code) or null. Never throws. */
  heartbeat(waitingFor: string | null): void;
  /** Aborted when nobody wants this delivery any more. After an intent it is too late and changes nothing. */
  cancelSignal: AbortSignal;
  /** Aborted when the process shuts down: hand back what is not handed over, finish reporting what is. */
  drainSignal: AbortSignal;
  /** Aborted when the control plane lets this worker in no more: end what is held at once, and write nothing. Default: never. */
  shutOutSignal?: AbortSignal;
  logger: Logger;
}

/** The ledger knows how it stands; the queue's task is done. */
export interface DeliverySettled {
  /**
   * `delivered`: the whole line was handed over. `maybe_written`: it may have been; never repeated.
   * `refused`: this workload can never be handed over. `not_needed`: the ledger needs nothing from this task.
   * `finished`: the command has ended and the ledger has its outcome. `maybe_run`: it ran or may have, and the ledger was not told.
   */
  outcome: 'delivered' | 'maybe_written' | 'refused' | 'not_needed' | 'finished' | 'maybe_run';
  /** State the control plane answered with; null when its answer did not arrive. */
  state: WorkloadState | null;
  /** Milliseconds to the workload's next deadline; null when unknown or none. */
  waitMs: number | null;
}

/** Nothing was handed over and no attempt counts: offer the task again, here or elsewhere. */
export interface DeliveryHandedBack {
  outcome: 'hand_back';
  /** Short code: a refusal of the control plane, or `draining`. */
  reason: string;
  /** Milliseconds before the task should be offered again. */
  retryAfterMs: number;
  /** The reason concerns the worker itself: stop taking tasks until its state has changed. */
  stopPolling: boolean;
}

/** Cancelled before anything was handed over. */
export interface DeliveryCancelled {
  outcome: 'cancelled';
}

/** How one call of {@link Executor.deliver} ended. */
export type DeliveryOutcome = DeliverySettled | DeliveryHandedBack | DeliveryCancelled;

/** Whether the executor's other side is there, for heartbeats, readiness and metrics. */
export interface ExecutorStatus {
  ready: boolean;
  /** Short code when not ready, e.g. `ENXIO`. */
  reason: string | null;
  /** The other side was seen gone and back, and the control plane was not told yet. */
  restarted: boolean;
}

/** The adapter that makes the work happen. One instance per worker process. */
export interface Executor {
  readonly kind: ExecutorKind;
  /** Opens what must be open before any work is taken; rejects when the set-up is wrong. */
  start(control: ControlPlaneClient): Promise<void>;
  /** Hands over one workload. Rejects only for defects: every expected end is an outcome. */
  deliver(task: DeliveryTask, context: DeliveryContext): Promise<DeliveryOutcome>;
  status(): ExecutorStatus;
  /** The control plane was told of the restart. */
  restartReported(): void;
  /** Stops receiving and sends on what was received, for at most `graceMs`; what is unsent stays on disk. */
  stop(graceMs: number): Promise<void>;
}
