/** Growing delays with jitter: each is between half of and the full step, steps double from `firstMs` to `maxMs`. */
export class Backoff {
  #step: number;

  constructor(
    private readonly firstMs: number,
    private readonly maxMs: number,
  ) {
    this.#step = firstMs;
  }

  /** The next delay in milliseconds. */
  next(): number {
    const step = this.#step;
    this.#step = Math.min(step * 2, this.maxMs);
    return withJitter(step);
  }

  reset(): void {
    this.#step = this.firstMs;
  }
}

/** A delay between half of `ms` and `ms`, so that many who wait do not come back together. */
export function withJitter(ms: number): number {
  return Math.round(ms / 2 + Math.random() * (ms / 2));
}

/** Waits `ms` milliseconds, or shorter when one of the signals is or becomes aborted. Never rejects. */
export function pause(ms: number, ...signals: AbortSignal[]): Promise<void> {
  if (signals.some((signal) => signal.aborted)) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    for (const signal of signals) signal.addEventListener('abort', done);
  });
}
