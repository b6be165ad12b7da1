import { setTimeout as sleep } from 'node:timers/promises';

/** Options of {@link eventually}; both in milliseconds. */
export interface EventuallyOptions {
  /** Default 15,000. */
  timeout?: number;
  /** Time between tries, default 25. */
  interval?: number;
}

/**
 * Calls `probe` until it neither throws nor returns `false` or `null`, and returns what it returned. After the timeout it fails
 * with the last error, or says what was returned last.
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  options: EventuallyOptions = {},
): Promise<Exclude<T, false | null>> {
  const timeout = options.timeout ?? 15_000;
  const deadline = Date.now() + timeout;
  for (;;) {
    let failure: Error;
    try {
      const value = await probe();
      // A probe of expect() calls returns nothing: that it did not throw is its answer.
      if (value !== false && value !== null) return value as Exclude<T, false | null>;
      failure = new Error(`still ${String(value)} after ${timeout} ms`);
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
    if (Date.now() >= deadline) throw failure;
    await sleep(options.interval ?? 25);
  }
}
