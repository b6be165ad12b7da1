import { z } from 'zod';
import { RULE_DECISIONS } from './policy';
import { DECISIONS, EXECUTORS } from './terminology';

/** Bounds of a policy diff. */
export const DIFF_LIMITS = {
  /** Events that are looked at in one go. */
  last: 10_000,
  /** Changes that are listed. */
  changes: 1000,
  /** Characters of a rule's part that is shown as it was and as it would be. */
  termChars: 2000,
} as const;

/** How many events are looked at, and changes listed, when nobody says. */
export const DIFF_DEFAULTS = { last: 1000, changes: 200 } as const;

/** What a policy says of one event, before any dedupe claim. */
const said = z
  .object({
    decision: z.enum(RULE_DECISIONS),
    /** Null when the default decides, or there was no policy. */
    rule_id: z.string().nullable(),
    reason: z.string(),
    dedupe_key: z.string().nullable(),
    /** Null, as the next two, where no work comes of it; also where admission chooses by what the rule requires. */
    pool: z.string().nullable(),
    executor: z.enum(EXECUTORS).nullable(),
    priority: z.int().nullable(),
    /** Further parts of the rule, those that differ; null for one that is too long to show. Durations in milliseconds. */
    terms: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'PolicySaid' });
export type PolicySaid = z.infer<typeof said>;

/** One event that the candidate would judge otherwise. */
const policyChange = z
  .object({
    workload_id: z.string(),
    source: z.string(),
    action: z.string(),
    event_id: z.string(),
    subject: z.string().nullable(),
    accepted_at: z.iso.datetime(),
    /** What differs: `decision`, `rule_id`, `reason`, `dedupe_key`, `pool`, `executor`, `priority`, `requires`, or a part of the rule. */
    changed: z.array(z.string()),
    from: said,
    to: said,
    /** The decision on record; `duplicate` is said by the claim, so `from` has what the policy said before it. */
    recorded_decision: z.enum(DECISIONS),
  })
  .meta({ id: 'PolicyChange' });
export type PolicyChange = z.infer<typeof policyChange>;

/** What a candidate policy would have decided otherwise. */
export const policyDiff = z
  .object({
    candidate: z.object({ policy_hash: z.string(), rules: z.int() }),
    /** The newest events that were looked at; fewer than asked for when there are not so many. */
    events: z.int(),
    judged: z.int(),
    changed: z.int(),
    not_judged: z.object({
      /** Their bodies are no longer kept. */
      body_pruned: z.int(),
      /** There is no decision yet to compare with. */
      not_decided: z.int(),
    }),
    /** False when the time for it was over before all events were looked at. */
    complete: z.boolean(),
    /** When the oldest event that was looked at was accepted. */
    oldest_at: z.iso.datetime().nullable(),
    /** Changed events by what differs; one event may count in several. */
    by_kind: z.record(z.string(), z.int()),
    /** Changed decisions by what they were and would be. */
    by_decision: z.array(z.object({ from: z.enum(RULE_DECISIONS), to: z.enum(RULE_DECISIONS), events: z.int() })),
    /** Newest first. */
    changes: z.array(policyChange),
    /** There are more changes than are listed; the totals count them all. */
    truncated: z.boolean(),
  })
  .meta({ id: 'PolicyDiff' });
export type PolicyDiff = z.infer<typeof policyDiff>;
