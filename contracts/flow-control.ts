import { z } from 'zod';
import { duration, formatDuration } from './duration';
import { expression } from './policy-text';

/** What becomes of an event whose dedupe key is taken. See `docs/policy.md`. */
export const ON_DUPLICATE = ['drop', 'queue', 'supersede', 'coalesce'] as const;
export type OnDuplicate = (typeof ON_DUPLICATE)[number];

/** Most workloads that wait in one lane; of more the decision is `deny`. */
export const MAX_WAITING = 10_000;

const DEFAULT_WINDOW_MS = 24 * 3_600_000;
const positive = (max: number) =>
  z.int('must be a whole number').min(1, `must be 1 to ${max}`).max(max, `must be 1 to ${max}`);

/** A rule's `dedupe` block. */
export const dedupe = z
  .strictObject({
    /** CEL string: events of the tenant with the same key are the same work. 1–1,024 characters at run time. */
    key: expression,
    /** With `drop`: how long a key stays taken after it was claimed; in any case while its workload is open. `0s`–`365d`. Default `24h`. */
    window: duration('0s', '365d').optional(),
    /** What becomes of an event whose key is taken: `drop`, `queue`, `supersede` or `coalesce`. Default `drop`. */
    on_duplicate: z.enum(ON_DUPLICATE, `must be one of ${ON_DUPLICATE.join(', ')}`).default('drop'),
  })
  .superRefine(({ window, on_duplicate }, context) => {
    if (window === undefined || on_duplicate === 'drop') return;
    const message = `has no effect with on_duplicate: ${on_duplicate}, where a key is taken only while its work is open`;
    context.addIssue({ code: 'custom', path: ['window'], message });
  })
  .transform(({ key, window, on_duplicate }) => ({
    key,
    window: on_duplicate === 'drop' ? (window ?? DEFAULT_WINDOW_MS) : 0,
    on_duplicate,
  }));

const concurrency = z.strictObject({
  /** Workloads at once, from their turn to their end. 1–1,000. */
  max: positive(1000),
  /** CEL string: counted for each value on its own. Default: over the whole rule. */
  key: expression.optional(),
});

const rate = z.strictObject({
  /** Workloads that may start within any `per`. 1–1,000. */
  max: positive(1000),
  /** `1s`–`30d`. */
  per: duration('1s', '30d'),
  /** CEL string: counted for each value on its own. Default: over the whole rule. */
  key: expression.optional(),
});

/** A rule's `limits` block: what is too much waits for its turn. */
export const limits = z
  .strictObject({ concurrency: concurrency.optional(), rate: rate.optional() })
  .refine(({ concurrency: c, rate: r }) => c !== undefined || r !== undefined, 'must name concurrency or rate');

/** A rule's `debounce` block: of events that follow each other closely only the newest is work. */
export const debounce = z
  .strictObject({
    /** Work begins when no further event came for this long. `1s`–`7d`. */
    for: duration('1s', '7d'),
    /** Work begins after this long in any case. `1s`–`7d`. Default: none. */
    max_wait: duration('1s', '7d').optional(),
    /** CEL string: events with the same value belong together. Default: all of the rule. */
    key: expression.optional(),
  })
  .superRefine(({ for: quiet, max_wait }, context) => {
    if (max_wait === undefined || max_wait > quiet) return;
    const message = `must be longer than for (${formatDuration(quiet)}), or nothing is ever waited for`;
    context.addIssue({ code: 'custom', path: ['max_wait'], message });
  });

/** Limits of a rule as the ledger keeps them; durations in milliseconds, keys are computed per event. */
export interface FlowSnapshot {
  concurrency: { max: number } | null;
  rate: { max: number; per: number } | null;
  debounce: { for: number; max_wait: number | null } | null;
}

interface FlowRule {
  dedupe?: { key: string; on_duplicate: OnDuplicate } | undefined;
  limits?: z.output<typeof limits> | undefined;
  debounce?: z.output<typeof debounce> | undefined;
  deadlines: { queued: number; total: number };
}

/** Combinations in which one part undoes or repeats the other: path and complaint. */
export function flowContradictions(rule: FlowRule): { path: string[]; message: string }[] {
  const found: { path: string[]; message: string }[] = [];
  const { dedupe: claim, limits: limit, debounce: quiet, deadlines } = rule;
  const mode = claim?.on_duplicate;
  if (claim && mode !== 'drop' && limit?.concurrency?.key === claim.key) {
    const message = `has no effect: with on_duplicate: ${mode} there is one at a time for this key`;
    found.push({ path: ['limits', 'concurrency'], message });
  }
  if (quiet && mode === 'coalesce') {
    const message = 'does not go with on_duplicate: coalesce, which gathers events itself: use one of them';
    found.push({ path: ['debounce'], message });
  }
  if (quiet && mode === 'drop' && quiet.key === claim?.key) {
    const message =
      'has the key of dedupe, which drops each later event before it could be the newest: use one of them';
    found.push({ path: ['debounce', 'key'], message });
  }
  const patience = Math.min(deadlines.queued, deadlines.total);
  for (const name of ['for', 'max_wait'] as const) {
    if ((quiet?.[name] ?? 0) < patience) continue;
    const message = `is not shorter than the queued or total deadline (${formatDuration(patience)}), which would end the work first`;
    found.push({ path: ['debounce', name], message });
  }
  return found;
}
