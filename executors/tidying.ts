import type { Logger } from 'pino';
import { pause } from './backoff';
import type { Backend, TidyContext } from './backend';

export interface TidyingOptions extends Omit<TidyContext, 'signal'> {
  backends: readonly Backend[];
  /** Time between two rounds, milliseconds. Default 180,000. */
  everyMs?: number;
  logger: Logger;
}

/** Ends what killed workers left on the backends: at once, and again every few minutes. */
export class Tidying {
  private readonly stopping = new AbortController();
  private finished: Promise<void> = Promise.resolve();

  constructor(private readonly options: TidyingOptions) {}

  /** Begins; does not wait for the first round. */
  start(): void {
    this.finished = this.keep();
  }

  /** No round begins any more; waits for the one under way. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.finished;
  }

  private async keep(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      for (const backend of this.options.backends) await this.tidy(backend);
      await pause(this.options.everyMs ?? 180_000, signal);
    }
  }

  private async tidy({ spec: { id }, tidy }: Backend): Promise<void> {
    const { logger } = this.options;
    try {
      const runs = (await tidy?.({ ...this.options, signal: this.stopping.signal })) ?? [];
      if (runs.length > 0) logger.warn({ backend: id, runs }, 'ended what a killed worker had left running');
    } catch (error) {
      logger.error({ err: error, backend: id }, 'what killed workers left cannot be ended; trying again');
    }
  }
}
