/** Longest wait for a decision, in seconds. */
export const MAX_WAIT_SECONDS = 20;

/**
 * Seconds that a `Prefer` header (RFC 7240) asks to wait, at most {@link MAX_WAIT_SECONDS}; 0 when it asks for none. What is not
 * understood is passed over, as the RFC wants.
 */
export function waitSecondsOf(header: string | undefined): number {
  for (const preference of (header ?? '').split(',')) {
    const match = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(;|$)/i.exec(preference);
    if (match) return Math.min(Number(match[1]), MAX_WAIT_SECONDS);
  }
  return 0;
}
