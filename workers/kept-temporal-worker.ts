import type { NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { Backoff, pause } from '../domain/backoff';
import type { TemporalTarget } from './temporal-connection';
import { connectWorker } from './worker-connection';

/** A Temporal worker, or something that wraps one. */
export interface StoppableWorker {
  /** Resolves when it has stopped in order, rejects when it cannot go on. */
  run(): Promise<void>;
  shutdown(): void;
}

export interface KeptTemporalWorkerOptions {
  target: TemporalTarget;
  create: (connection: NativeConnection) => Promise<StoppableWorker>;
  logger: Logger;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/** Keeps a Temporal worker running: connects as often as it takes, and makes a new worker when the old one failed. */
export class KeptTemporalWorker {
  private readonly stopping = new AbortController();
  private readonly backoff = new Backoff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
  private worker: StoppableWorker | null = null;
  private finished: Promise<void> = Promise.resolve();
  private failed = false;

  constructor(private readonly options: KeptTemporalWorkerOptions) {}

  /** Whether a worker is connected and polls. */
  get isRunning(): boolean {
    return this.worker !== null;
  }

  /** Whether it could not connect or run when it was last tried, and has not run since. */
  get isFailing(): boolean {
    return this.failed;
  }

  start(): void {
    this.finished = this.keep();
  }

  /** Stops polling. Resolves when what the worker held is finished; how long that may take is the worker's own setting. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.worker?.shutdown();
    await this.finished;
  }

  private async keep(): Promise<void> {
    while (!this.stopping.signal.aborted) {
      try {
        await this.runOnce();
      } catch (error) {
        this.failed = true;
        const { connection, namespace } = this.options.target;
        const { address } = connection;
        this.options.logger.warn(
          { error: describe(error), address, namespace },
          'the Temporal worker cannot run; trying again',
        );
      }
      await pause(this.backoff.next(), this.stopping.signal);
    }
  }

  private async runOnce(): Promise<void> {
    const connection = await this.connect();
    if (!connection) return;
    try {
      const worker = await this.options.create(connection);
      const run = worker.run();
      this.worker = worker;
      this.failed = false;
      this.backoff.reset();
      if (this.stopping.signal.aborted) worker.shutdown();
      else this.options.logger.info('polling Temporal');
      await run;
    } finally {
      this.worker = null;
      await connection.close();
    }
  }

  /** Null when it was told to stop meanwhile: connecting cannot be cancelled, so it is left to end by itself. */
  private async connect(): Promise<NativeConnection | null> {
    const { signal } = this.stopping;
    const connecting = connectWorker(this.options.target);
    const stopped = new Promise<null>((resolve) =>
      signal.addEventListener('abort', () => resolve(null), { once: true }),
    );
    const connection = await Promise.race([connecting, stopped]);
    if (connection !== null && !signal.aborted) return connection;
    void connecting.then((late) => late.close()).catch(() => undefined);
    return null;
  }
}

const describe = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}`.slice(0, 300) : 'unknown';
