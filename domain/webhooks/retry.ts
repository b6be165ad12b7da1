/** What came of one try. `status` is null when there was no answer; then `error` says why. */
export interface TryOutcome {
  status: number | null;
  /** Code; null when the receiver took it. */
  error: string | null;
  /** What the receiver asked for in `Retry-After`, milliseconds. */
  retryAfterMs: number | null;
}

/** What follows from a try. */
export type AfterTry =
  | { state: 'delivered' | 'gone' | 'gave_up' }
  /** To be tried again after this time. */
  | { state: 'pending'; delayMs: number };

const FIRST_DELAY_MS = 2_000;
const FACTOR = 2.5;
/** Longest wait between two tries, also when the receiver asks for more. */
export const LONGEST_DELAY_MS = 4 * 60 * 60_000;
/** The wait is longer or shorter by up to this part, so that what failed together does not come back together. */
const JITTER = 0.2;

/** Tries of one message: about a day. */
export const MAX_TRIES = 16;
/** Tries of one message that the receiver refuses as such: about half an hour, time enough for a receiver that is not ready. */
export const MAX_REFUSED_TRIES = 9;

/** 4xx that may well be different next time. */
const MAY_CHANGE = [408, 409, 425, 429];

/** What follows from try number `tries` (1, 2, …). `random` is from 0 to 1. */
export function afterTry(tries: number, { status, retryAfterMs }: TryOutcome, random: number): AfterTry {
  if (status !== null && status >= 200 && status < 300) return { state: 'delivered' };
  if (status === 410) return { state: 'gone' };
  const refused = status !== null && status >= 300 && status < 500 && !MAY_CHANGE.includes(status);
  if (tries >= (refused ? MAX_REFUSED_TRIES : MAX_TRIES)) return { state: 'gave_up' };
  const planned = Math.min(FIRST_DELAY_MS * FACTOR ** (tries - 1), LONGEST_DELAY_MS);
  const asked = Math.min(retryAfterMs ?? 0, LONGEST_DELAY_MS);
  return { state: 'pending', delayMs: Math.round(Math.max(planned * (1 - JITTER + 2 * JITTER * random), asked)) };
}

/** A `Retry-After` header as milliseconds from `now`; null when there is none or it cannot be read. */
export function retryAfterOf(header: string | undefined, now: number): number | null {
  if (header === undefined) return null;
  if (/^\d{1,9}$/.test(header.trim())) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
