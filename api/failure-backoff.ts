import { ipKeyGenerator } from 'express-rate-limit';
import { Problem } from '../contracts/problems';

const WINDOW_MS = 60_000;
/** Failures a minute with one bearer from one address. */
const PER_BEARER = 20;
/** Failures a minute from one address, whatever was presented. */
const PER_ADDRESS = 300;
const MAX_KEYS = 10_000;

interface Count {
  failures: number;
  until: number;
}

/**
 * Slows down clients that keep presenting refused bearers; one that is good always passes. Counted per address and bearer id, so that on a shared address (one
 * host, one proxy) a forgotten credential does not shut out the others. IPv6 addresses count by /64. Bounded: when it is full
 * the oldest count goes.
 */
export class FailureBackoff {
  private readonly counts = new Map<string, Count>();

  /** Throws `auth.backoff` for a client with too many failures. */
  check(address: string, bearer: string): void {
    const [host, pair] = keys(address, bearer);
    const waitMs = Math.max(this.waitMs(host, PER_ADDRESS), this.waitMs(pair, PER_BEARER));
    if (waitMs > 0) {
      throw new Problem('auth.backoff', 'Too many refused bearers from this address. Wait.', { retryAfterMs: waitMs });
    }
  }

  /** Counts a refused bearer. */
  failed(address: string, bearer: string): void {
    for (const key of keys(address, bearer)) {
      const known = this.current(key);
      if (known) {
        known.failures += 1;
        continue;
      }
      const [oldest] = this.counts.keys();
      if (this.counts.size >= MAX_KEYS && oldest !== undefined) this.counts.delete(oldest);
      this.counts.set(key, { failures: 1, until: Date.now() + WINDOW_MS });
    }
  }

  private waitMs(key: string, limit: number): number {
    const known = this.current(key);
    return known && known.failures >= limit ? known.until - Date.now() : 0;
  }

  private current(key: string): Count | undefined {
    const known = this.counts.get(key);
    if (known && known.until <= Date.now()) {
      this.counts.delete(key);
      return undefined;
    }
    return known;
  }
}

/** The key of the address, and that of the address with the public part of the bearer. */
function keys(address: string, bearer: string): [string, string] {
  const host = ipKeyGenerator(address, 64);
  const id = /^(?:ow[tw]_[0-9a-z]{16}_|whe_[0-9a-f]{32}$)/.exec(bearer)?.[0] ?? '';
  return [host, `${host} ${id}`];
}
