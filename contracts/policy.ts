import { z } from 'zod';
import { CAPABILITY_KINDS, CAPABILITY_LIMITS, offeredCapabilities, type CapabilityKind } from './capabilities';
import { deadlines, type DeadlineTable } from './deadlines';
import { duration, parseDuration } from './duration';
import { debounce, dedupe, flowContradictions, limits, type FlowSnapshot, type OnDuplicate } from './flow-control';
import { slug } from './ids';
import { expression, MAX_EXPRESSION_CHARS, objectOr, policyText as text } from './policy-text';
import { requirements, type Requirements } from './requirements';
import { retry, retryContradictions, type RetryTerms } from './retry';
import { runBlock, runContradictions, type RunTemplate } from './run-rule';
import { EXECUTORS, type ExecutorKind } from './terminology';

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

const ms = (text: string): number => parseDuration(text)!;

/** Approval of a `hold` rule that says nothing about it; `deadline` in milliseconds. */
export const DEFAULT_HOLD = { deadline: ms('24h'), then: 'deny' } as const;

const shortText = text(200).refine(
  (value) => !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(value),
  'must be one line of printable characters',
);
const unique = (values: readonly unknown[]): boolean => new Set(values).size === values.length;

const DEFAULT_POOL = 'default';

const to = z.strictObject({
  /** Whose workers do the work. Default `default`; with `requires`: chosen when the event is admitted. */
  pool: slug.optional(),
  /** What a worker must have declared to get the work. Default nothing. */
  requires: requirements.optional(),
  /** How the work is done: by OpenCrow, by a command on an execution backend, or by a managed worker. Default `opencrow`. */
  executor: z.enum(EXECUTORS, `must be one of ${EXECUTORS.join(', ')}`).default('opencrow'),
  /** 1 (first) to 5 (last) within the pool. Default 3. */
  priority: z.int().min(1, 'must be 1 to 5').max(5, 'must be 1 to 5').default(3),
});

/** Where the work goes: the pool that is named, `default` where nothing is said, null where admission is to choose. */
export const destinationOf = ({ pool, requires, ...rest }: z.output<typeof to>): RuleSnapshot['to'] => ({
  pool: pool ?? (requires === undefined ? DEFAULT_POOL : null),
  ...rest,
  ...(requires && { requires }),
});

const trigger = z.strictObject({
  /** Instruction to the agent, sent with the event. Default none. */
  prompt: text(2000).optional(),
  /** Names of fields of `event.data` that go along; a field the event lacks is left out. At most 32. Default none. */
  include: z.array(text(256)).max(32).refine(unique, 'must not name a field twice').default([]),
  /** Passed on to the executor as it is. Default none. */
  response_policy: text(64).optional(),
});

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
const resource = objectOr(globResource, celResource);

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
    /** What goes to the agent; only with executors `opencrow` and `managed`. Default: the event's identity alone. */
    trigger: trigger.optional(),
    /** The command; with the executors that run one, and required there. */
    run: runBlock.optional(),
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
    const contradictions = [...flowContradictions(rule), ...runContradictions(rule), ...retryContradictions(rule)];
    for (const found of contradictions) context.addIssue({ code: 'custom', ...found });
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
  /** `pool` is null where admission chooses one; `requires` is absent where nothing is required. */
  to: { pool: string | null; executor: ExecutorKind; priority: number; requires?: Requirements };
  /** Empty when the work is a command. */
  trigger: { prompt: string | null; include: string[]; response_policy: string | null };
  /** In milliseconds. */
  deadlines: DeadlineTable;
  retry: RetryTerms;
  /** Its expressions as they are written; what they came to is kept beside the decision. Absent where no command is run. */
  run?: RunTemplate;
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
