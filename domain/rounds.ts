import { pause } from './backoff';

/** Something that is done again and again in the background, never twice at once. */
export class Rounds {
  private readonly stopping = new AbortController();
  private finished: Promise<void> = Promise.resolve();

  /** `round` does it once and says how long to wait for the next time, milliseconds; its signal is aborted at the stop. */
  constructor(private readonly round: (stopping: AbortSignal) => Promise<number>) {}

  /** Begins, with the first round after `afterMs`; does not wait for it. */
  start(afterMs = 0): void {
    this.finished = this.keep(afterMs);
  }

  /** No round begins any more; waits for the one under way. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.finished;
  }

  private async keep(afterMs: number): Promise<void> {
    const { signal } = this.stopping;
    if (afterMs > 0) await pause(afterMs, signal);
    while (!signal.aborted) await pause(await this.round(signal), signal);
  }
}
