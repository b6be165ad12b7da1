import { z } from 'zod';
import { CAPABILITY_KINDS, CAPABILITY_LIMITS, offeredCapabilities, type CapabilityKind } from './capabilities';
import { duration, formatDuration, parseDuration } from './duration';
import { debounce, dedupe, flowContradictions, limits, type FlowSnapshot, type OnDuplicate } from './flow-control';
import { slug } from './ids';
import { expression, MAX_EXPRESSION_CHARS, policyText as text } from './policy-text';

/** Bounds of a policy document. */
export const POLICY_LIMITS = {
  /** UTF-8 bytes of the YAML text. */
  documentBytes: 192 * 1024,
  rules: 1000,
  /** Characters of one CEL expression. */
  expressionChars: MAX_EXPRESSION_CHARS,
  /** YAML aliases that may be expanded. */
  aliases: 100,
} as const;

/** What a rule may decide. (`duplicate` is said by the dedupe claim, never by a rule.) */
export const RULE_DECISIONS = ['dispatch', 'ignore', 'deny', 'hold'] as const;
export type RuleDecision = (typeof RULE_DECISIONS)[number];

/** Ends of a delivery after which a rule may ask for another one. */
export const REDELIVER_ON = ['lost', 'failed', 'aborted', 'dropped'] as const;

const ms = (text: string): number => parseDuration(text)!;

/** Deadlines of a rule that names none, in milliseconds. */
export const DEFAULT_DEADLINES = {
  queued: ms('24h'),
  start: ms('30m'),
  run: ms('2h'),
  resume: ms('30m'),
  total: ms('12h'),
  late: ms('24h'),
} as const;

/** The deadlines of a rule, in milliseconds. */
type DeadlineTable = Record<keyof typeof DEFAULT_DEADLINES, number>;

/** Approval of a `hold` rule that says nothing about it; `deadline` in milliseconds. */
export const DEFAULT_HOLD = { deadline: ms('24h'), then: 'deny' } as const;

const shortText = text(200).refine(
  (value) => !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(value),
  'must be one line of printable characters',
);
const unique = (values: readonly unknown[]): boolean => new Set(values).size === values.length;

const to = z.strictObject({
  /** Whose workers do the work. Default `default`. */
  pool: slug.default('default'),
  /** How the work is done. Only `opencrow` is available. Default `opencrow`. */
  executor: z
    .enum(['opencrow', 'node', 'container', 'remote', 'ci'])
    .refine((executor) => executor === 'opencrow', 'is not available yet: only opencrow is')
    .transform(() => 'opencrow' as const)
    .default('opencrow'),
  /** 1 (first) to 5 (last) within the pool. Default 3. */
  priority: z.int().min(1, 'must be 1 to 5').max(5, 'must be 1 to 5').default(3),
});

const trigger = z.strictObject({
  /** Instruction to the agent, sent with the event. Default none. */
  prompt: text(2000).optional(),
  /** Names of fields of `event.data` that go along; a field the event lacks is left out. At most 32. Default none. */
  include: z.array(text(256)).max(32).refine(unique, 'must not name a field twice').default([]),
  /** Passed on to the executor as it is. Default none. */
  response_policy: text(64).optional(),
});

const step = () => duration('1s', '90d').optional();
const deadlines = z
  .strictObject({
    /** Offered → handed over. Then `refused`. Default `24h`. */
    queued: step(),
    /** Handed over → running. Then `lost`. Default `30m`. */
    start: step(),
    /** Running → end. Then `lost`. Default `2h`. */
    run: step(),
    /** Preempted → running again. Then `lost`. Default `30m`. */
    resume: step(),
    /** Offered → end, over everything. Default `12h`. */
    total: step(),
    /** How long after `lost` a late report still corrects it. `0s`–`90d`. Default `24h`. */
    late: duration('0s', '90d').optional(),
  })
  .superRefine((given, context) => {
    const total = given.total ?? DEFAULT_DEADLINES.total;
    for (const name of ['start', 'run', 'resume'] as const) {
      if ((given[name] ?? 0) <= total) continue;
      const origin = given.total === undefined ? 'the default total' : 'total';
      context.addIssue({
        code: 'custom',
        path: [name],
        message: `is longer than ${origin} (${formatDuration(total)}), which would end the work first: raise total`,
      });
    }
  })
  .transform((given): DeadlineTable => ({
    queued: given.queued ?? DEFAULT_DEADLINES.queued,
    start: given.start ?? DEFAULT_DEADLINES.start,
    run: given.run ?? DEFAULT_DEADLINES.run,
    resume: given.resume ?? DEFAULT_DEADLINES.resume,
    total: given.total ?? DEFAULT_DEADLINES.total,
    late: given.late ?? DEFAULT_DEADLINES.late,
  }));

const retry = z
  .strictObject({
    /** Ends after which the work is handed over once more. Default none: what may have run is never repeated by itself. */
    redeliver_on: z
      .array(z.enum(REDELIVER_ON))
      .max(REDELIVER_ON.length)
      .refine(unique, 'must not repeat an entry')
      .default([]),
    /** Deliveries in all, the first one included, 1–10. Default 2 with `redeliver_on`, else 1. */
    max_deliveries: z.int().min(1).max(10).optional(),
  })
  .superRefine(({ redeliver_on, max_deliveries }, context) => {
    if (max_deliveries === undefined) return;
    const message =
      redeliver_on.length > 0 && max_deliveries < 2
        ? 'must be at least 2 with redeliver_on, or nothing is ever redelivered'
        : redeliver_on.length === 0 && max_deliveries > 1
          ? 'has no effect without redeliver_on'
          : null;
    if (message) context.addIssue({ code: 'custom', path: ['max_deliveries'], message });
  })
  .transform(({ redeliver_on, max_deliveries }) => ({
    redeliver_on,
    max_deliveries: max_deliveries ?? (redeliver_on.length > 0 ? 2 : 1),
  }));

const hold = z.strictObject({
  /** How long approval is waited for. `1s`–`90d`. Default `24h`. */
  deadline: duration('1s', '90d').default(DEFAULT_HOLD.deadline),
  /** What happens when nobody answered. Default `deny`. */
  then: z.enum(['deny', 'dispatch']).default(DEFAULT_HOLD.then),
});

/** Only `*` and `?` mean more than themselves; what other globs know besides is refused rather than taken to the letter. */
const glob = text(CAPABILITY_LIMITS.globChars, 'must be a pattern in quotes, e.g. "entry:*"')
  .refine((value) => !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(value), 'must be printable characters')
  .refine((value) => !/[[\]{}\\]/.test(value), 'may hold * and ? only: [ ] { } and \\ mean nothing here')
  .refine((value) => !value.includes('**'), 'says ** where * is any run of characters, "/" included');
const globResource = z.strictObject({ glob });
const celResource = text(POLICY_LIMITS.expressionChars, 'must be a CEL string in quotes, or { glob: "…" }');

/** A CEL string gives one resource, to the letter; `{ glob }` is a pattern written here, out of reach of events. */
const resource = z.unknown().transform((value, context): string | { glob: string } => {
  const isPattern = typeof value === 'object' && value !== null && !Array.isArray(value);
  const parsed = (isPattern ? globResource : celResource).safeParse(value);
  if (parsed.success) return parsed.data;
  for (const { path, message } of parsed.error.issues) context.addIssue({ code: 'custom', path, message });
  return z.NEVER;
});

const capability = z.strictObject({
  /** The hook it opens. */
  hook: slug,
  /** `context` hooks read, `mutation` hooks change something. Default `context`. */
  kind: z.enum(CAPABILITY_KINDS, `must be ${CAPABILITY_KINDS.join(' or ')}`).default('context'),
  /** The hook's operations it allows, 1–32. */
  operations: z.array(slug).min(1).max(CAPABILITY_LIMITS.operations).refine(unique, 'must not repeat an entry'),
  /** The resources it is limited to, 1–32: CEL strings, or `{ glob: "entry:*" }`. */
  resources: z.array(resource).min(1).max(CAPABILITY_LIMITS.resources),
  /** Uses that each delivery gets, 1–10,000. Default 1. */
  max_uses: z.int().min(1).max(10_000).default(1),
  /** How long it lives after the handing over at most; it ends with the delivery in any case. `1s`–`7d`. Default `2h`. */
  ttl: duration('1s', '7d').default(ms('2h')),
});

/** One rule of a policy. Rules are tried in order; the first whose `when` is true decides. */
export const policyRule = z
  .strictObject({
    /** Unique within the policy; recorded with every decision. */
    id: slug,
    /** CEL bool over `event` and `tenant`. A rule whose `when` fails to evaluate does not match. */
    when: expression,
    /** `dispatch` the work, `ignore` or `deny` the event, or `hold` it for approval. */
    decision: z.enum(RULE_DECISIONS, `must be one of ${RULE_DECISIONS.join(', ')}`),
    /** Recorded with the decision; one line. Default: the rule's id. */
    reason: shortText.optional(),
    /** Default none: every event is work of its own. */
    dedupe: dedupe.optional(),
    /** How many at once and how often. Default none. */
    limits: limits.optional(),
    /** Default none: each event is work at once. */
    debounce: debounce.optional(),
    to: to.prefault({}),
    trigger: trigger.prefault({}),
    deadlines: deadlines.prefault({}),
    retry: retry.prefault({}),
    /** Only with decision `hold`. */
    hold: hold.optional(),
    /** Permissions that a delivery gets; at most 32. Default none. */
    capabilities: z.array(capability).max(CAPABILITY_LIMITS.grants).default([]),
  })
  .superRefine((rule, context) => {
    const offered = JSON.stringify(offeredCapabilities(rule.capabilities)).length;
    if (offered > CAPABILITY_LIMITS.offeredBytes) {
      const message = `hooks and operations take ${offered} bytes of the trigger line; at most ${CAPABILITY_LIMITS.offeredBytes} are allowed`;
      context.addIssue({ code: 'custom', path: ['capabilities'], message });
    }
    if (rule.hold && rule.decision !== 'hold') {
      context.addIssue({ code: 'custom', path: ['hold'], message: 'is allowed only with decision hold' });
    }
    for (const found of flowContradictions(rule)) context.addIssue({ code: 'custom', ...found });
  });
export type PolicyRule = z.output<typeof policyRule>;

/** A policy document: what is in the YAML file. Unknown fields are refused everywhere. */
export const policyDocument = z.strictObject({
  /** Version of this format. */
  version: z.literal(1, 'must be 1'),
  /** The decision on an event that no rule matches. */
  default: z.strictObject({
    /** `ignore` or `deny`. (To dispatch everything, end with a rule `when: "true"`.) */
    decision: z.enum(['ignore', 'deny'], 'must be ignore or deny'),
    /** Default `no-rule`. */
    reason: shortText.default('no-rule'),
  }),
  /** At most 1,000, tried in order. */
  rules: z.array(policyRule).max(POLICY_LIMITS.rules),
});
export type PolicyDocument = z.output<typeof policyDocument>;

/**
 * A rule with every default filled in and every duration in milliseconds: what the ledger keeps with a decision, so that a
 * workload goes by the rule it was admitted by. Plain JSON.
 */
export interface RuleSnapshot {
  id: string;
  decision: RuleDecision;
  reason: string;
  /** `window` in milliseconds; 0 unless `drop`. */
  dedupe: { window: number; on_duplicate: OnDuplicate } | null;
  /** Absent in rules that were kept before there were limits. */
  flow?: FlowSnapshot;
  to: { pool: string; executor: 'opencrow'; priority: number };
  trigger: { prompt: string | null; include: string[]; response_policy: string | null };
  /** In milliseconds. */
  deadlines: DeadlineTable;
  retry: { redeliver_on: (typeof REDELIVER_ON)[number][]; max_deliveries: number };
  /** `deadline` in milliseconds; null unless the decision is `hold`. */
  hold: { deadline: number; then: 'deny' | 'dispatch' } | null;
  /** `resources` are CEL sources and globs; `ttl` in milliseconds. What a workload was granted is kept beside its decision. */
  capabilities: {
    hook: string;
    /** Absent in snapshots of version 0.1. */
    kind?: CapabilityKind;
    operations: string[];
    resources: (string | { glob: string })[];
    max_uses: number;
    ttl: number;
  }[];
}

/** One thing wrong with a policy document. Lines and columns count from 1. */
export interface PolicyProblem {
  line: number;
  column: number;
  /** The rule it is in, when it is in one that names itself. */
  rule_id: string | null;
  /** JSON pointer into the document. */
  pointer: string;
  detail: string;
}
