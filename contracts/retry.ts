import { z } from 'zod';
import { isCommandExecutor, type ExecutorKind } from './terminology';

/** Ends of a delivery after which a rule may ask for another one. */
export const REDELIVER_ON = ['lost', 'failed', 'aborted', 'dropped'] as const;

/** A rule's `retry` block. */
export const retry = z.strictObject({
  /**
   * Ends after which the work is handed over once more. Default none, and `lost` for a command that is `rerunnable`: what may have
   * run is never repeated by itself.
   */
  redeliver_on: z
    .array(z.enum(REDELIVER_ON))
    .max(REDELIVER_ON.length)
    .refine((ends) => new Set(ends).size === ends.length, 'must not repeat an entry')
    .default([]),
  /** Deliveries in all, the first one included, 1–10. Default 2 when something is redelivered, else 1. */
  max_deliveries: z.int().min(1).max(10).optional(),
});

/** `retry` with nothing left open. */
export interface RetryTerms {
  redeliver_on: (typeof REDELIVER_ON)[number][];
  max_deliveries: number;
}

interface RetriedRule {
  retry: z.output<typeof retry>;
  run?: { rerunnable: boolean } | undefined;
  to: { executor: ExecutorKind };
}

/** What a rule's `retry` comes to. */
export function retryTerms({ retry: { redeliver_on, max_deliveries }, run }: RetriedRule): RetryTerms {
  const ends = run?.rerunnable && !redeliver_on.includes('lost') ? [...redeliver_on, 'lost' as const] : redeliver_on;
  return { redeliver_on: ends, max_deliveries: max_deliveries ?? (ends.length > 0 ? 2 : 1) };
}

/** What does not go together: path and complaint. */
export function retryContradictions(rule: RetriedRule): { path: (string | number)[]; message: string }[] {
  const found: { path: (string | number)[]; message: string }[] = [];
  const { redeliver_on: given, max_deliveries } = rule.retry;
  const lost = given.indexOf('lost');
  if (lost >= 0 && isCommandExecutor(rule.to.executor) && !rule.run?.rerunnable) {
    const message =
      'a lost command may have run: if it may run twice, say run.rerunnable: true, which repeats it when it is lost';
    found.push({ path: ['retry', 'redeliver_on', lost], message });
  }
  const repeats = retryTerms(rule).redeliver_on.length > 0;
  if (max_deliveries !== undefined && repeats !== max_deliveries > 1) {
    const message = repeats
      ? `must be at least 2 with ${given.length > 0 ? 'redeliver_on' : 'run.rerunnable'}, or nothing is ever redelivered`
      : 'has no effect without redeliver_on';
    found.push({ path: ['retry', 'max_deliveries'], message });
  }
  return found;
}
