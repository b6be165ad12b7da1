import { isDeepStrictEqual } from 'node:util';
import type { SourceEvent } from '../../contracts/events';
import type { RuleDecision, RuleSnapshot } from '../../contracts/policy';
import type { RunSpec } from '../../contracts/run';
import type { Decision } from '../../contracts/terminology';
import type { CompiledPolicy } from './compile';
import type { Evaluation, RuleTrace } from './evaluate';
import { explainPolicy, recordedText, type RuleExplanation } from './explain';

/** A decision as the ledger keeps it. */
export interface RecordedDecision {
  decision: Decision;
  ruleId: string | null;
  reason: string;
  /** The rule as it was; null when none matched. */
  rule: RuleSnapshot | null;
  dedupeKey: string | null;
  trace: readonly RuleTrace[];
  /** The command as it was filled in; null when none is run. */
  run: RunSpec | null;
}

/** Reason of a decision that policy made otherwise: the work was denied because too much waits already. */
export const NO_ROOM = 'too_many_waiting';

/** What policy itself said, before the dedupe claim and the lanes had their say. */
export function policySaid(recorded: RecordedDecision): { decision: RuleDecision; reason: string } {
  const { decision, reason, rule } = recorded;
  const noRoom = decision === 'deny' && reason === NO_ROOM && rule !== null && rule.decision !== 'deny';
  if (decision !== 'duplicate') return noRoom ? { decision: rule.decision, reason: rule.reason } : { decision, reason };
  if (!rule) throw new Error('a duplicate without a rule');
  return { decision: rule.decision, reason: rule.reason };
}

/** Why rules are explained by the recorded outcomes alone. */
export const NOT_RECOMPUTED = ['body_pruned', 'policy_unreadable', 'recomputation_differs'] as const;
export type NotRecomputed = (typeof NOT_RECOMPUTED)[number];

/** Rule by rule, why a recorded decision is as it is. */
export interface ExplainedDecision {
  rules: RuleExplanation[];
  /** Null when the policy was asked again and said the same. */
  notRecomputed: NotRecomputed | null;
}

/**
 * Explains a recorded decision. The stored policy is asked again for its reasons only: unless it says exactly what was
 * recorded, the recorded outcomes stand alone. `event` is null once pruned; `policy` is null where there was none, and
 * `unreadable` where its text is not taken any more.
 */
export function explainRecorded(
  recorded: RecordedDecision,
  event: SourceEvent | null,
  policy: CompiledPolicy | null | 'unreadable',
  options: { tenant: string },
): ExplainedDecision {
  if (policy === null) return { rules: [], notRecomputed: null };
  if (event === null) return asRecorded(recorded, 'body_pruned');
  if (policy === 'unreadable') return asRecorded(recorded, 'policy_unreadable');
  const { evaluation, rules } = explainPolicy(policy, event, options);
  return agrees(evaluation, recorded) ? { rules, notRecomputed: null } : asRecorded(recorded, 'recomputation_differs');
}

const asRecorded = ({ trace }: RecordedDecision, notRecomputed: NotRecomputed): ExplainedDecision => ({
  rules: trace.map((rule) => ({ ...rule, text: recordedText(rule) })),
  notRecomputed,
});

function agrees(evaluation: Evaluation, recorded: RecordedDecision): boolean {
  const said = policySaid(recorded);
  return (
    evaluation.decision === said.decision &&
    evaluation.reason === said.reason &&
    evaluation.ruleId === recorded.ruleId &&
    evaluation.dedupeKey === recorded.dedupeKey &&
    isDeepStrictEqual(evaluation.run, recorded.run) &&
    evaluation.trace.length === recorded.trace.length &&
    evaluation.trace.every((rule, index) => sameOutcome(rule, recorded.trace[index]!))
  );
}

const sameOutcome = (a: RuleTrace, b: RuleTrace): boolean =>
  a.ruleId === b.ruleId && a.outcome === b.outcome && a.error === b.error;
