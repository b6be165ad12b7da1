import { Worker, type NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { taskQueueOf } from '../../contracts/names';
import { isCommandExecutor } from '../../contracts/terminology';
import type { ControlPlaneClient } from '../../executors/control-plane-client';
import type { Executor } from '../../executors/executor';
import { KeptTemporalWorker, type StoppableWorker } from '../kept-temporal-worker';
import type { TemporalTarget } from '../temporal-connection';
import { executorActivity } from './executor-activity';

export interface PollingOptions {
  target: TemporalTarget;
  poolId: string;
  executor: Executor;
  control: ControlPlaneClient;
  /** How long a delivery may go on after polling stopped, milliseconds. */
  graceMs: number;
  /** Aborted when the control plane lets this worker in no more. */
  shutOutSignal: AbortSignal;
  onRefused: (reason: string) => void;
  logger: Logger;
}

/** A cancelled delivery learns of it with its next heartbeat, so these must get through. */
const HEARTBEAT_THROTTLE_MS = 5_000;
/** The SDK gives up on its own order only this long after the grace. */
const FORCE_SLACK_MS = 10_000;

/** More tasks than this at once would only wait for each other. */
const MOST_TASKS = 20;

/** A command ends by itself or with its process: when polling stops, what is under way goes on. */
const COMMAND_GRACE_MS = 8 * 24 * 3600 * 1000;

interface Poller {
  worker: KeptTemporalWorker;
  drain: AbortController;
}

/**
 * Polls one executor's queue of the pool while it should, for as many deliveries at a time as the worker has slots: with the one
 * slot that OpenCrow wants, one waits here and everything else stays in the queue.
 */
export class Polling {
  /** Ids that are being delivered now. */
  readonly active = new Set<string>();
  private wanted = false;
  private slots = 1;
  private current: Poller | null = null;
  /** Those that take nothing new and still run commands. */
  private readonly leaving = new Map<Poller, Promise<void>>();
  private transition: Promise<void> = Promise.resolve();

  constructor(private readonly options: PollingOptions) {}

  /** Whether a Temporal worker is connected and polls. */
  get isRunning(): boolean {
    return this.current?.worker.isRunning ?? false;
  }

  /** Whether it should poll, and Temporal was not reached or did not let it. */
  get isFailing(): boolean {
    return this.current?.worker.isFailing ?? false;
  }

  /**
   * Starts or stops polling. A delivery to OpenCrow that is under way is finished or handed back, and a command goes on. Resolves
   * when that is done.
   */
  want(wanted: boolean, slots = this.slots): Promise<void> {
    this.slots = slots;
    if (wanted === this.wanted) return this.transition;
    this.wanted = wanted;
    if (!wanted && !this.runsCommands) this.current?.drain.abort();
    this.transition = this.transition.then(() => this.settle());
    return this.transition;
  }

  /** Stops polling for good. Resolves when nothing is under way any more, which commands are given the grace for. */
  async stop(): Promise<void> {
    for (const { drain } of [...this.leaving.keys(), ...(this.current ? [this.current] : [])]) drain.abort();
    await this.want(false);
    await Promise.all(this.leaving.values());
  }

  private get runsCommands(): boolean {
    return isCommandExecutor(this.options.executor.kind);
  }

  private async settle(): Promise<void> {
    if (this.wanted === (this.current !== null)) return;
    if (this.current) {
      const poller = this.current;
      this.current = null;
      const stopped = poller.worker.stop().finally(() => this.leaving.delete(poller));
      if (this.runsCommands) return void this.leaving.set(poller, stopped);
      return stopped;
    }
    const drain = new AbortController();
    const create = (connection: NativeConnection): Promise<StoppableWorker> =>
      this.createWorker(connection, drain.signal);
    const worker = new KeptTemporalWorker({ target: this.options.target, logger: this.options.logger, create });
    this.current = { worker, drain };
    worker.start();
  }

  private async createWorker(connection: NativeConnection, drainSignal: AbortSignal): Promise<StoppableWorker> {
    const { target, poolId, graceMs, executor } = this.options;
    const activity = executorActivity({ ...this.options, active: this.active, drainSignal });
    const worker = await Worker.create({
      connection,
      namespace: target.namespace,
      taskQueue: taskQueueOf(poolId, executor.kind),
      activities: this.runsCommands ? { execute: activity } : { deliver: activity },
      maxConcurrentActivityTaskExecutions: Math.min(this.slots, MOST_TASKS),
      ...(this.runsCommands
        ? { shutdownGraceTime: COMMAND_GRACE_MS }
        : { shutdownGraceTime: graceMs, shutdownForceTime: graceMs + FORCE_SLACK_MS }),
      maxHeartbeatThrottleInterval: HEARTBEAT_THROTTLE_MS,
    });
    return {
      run: () => worker.run(),
      shutdown: () => {
        if (worker.getState() === 'RUNNING') worker.shutdown();
      },
    };
  }
}
