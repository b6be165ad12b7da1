import { isDeepStrictEqual } from 'node:util';
import type { RuleDecision, RuleSnapshot } from '../../contracts/policy';
import type { RunSpec } from '../../contracts/run';
import { DIFF_LIMITS, type PolicySaid } from '../../contracts/policy-diff';
import type { Evaluation } from './evaluate';
import { policySaid, type RecordedDecision } from './recorded-decision';

/** What two policies said of one event, where they differ. */
export interface Difference {
  changed: string[];
  from: PolicySaid;
  to: PolicySaid;
}

const CORE = ['decision', 'rule_id', 'reason', 'dedupe_key', 'pool', 'executor', 'priority'] as const;

/**
 * Compares what policy said by the record with what another policy says; null when it is the same. Dedupe claims have no part in
 * it. Of rules that make no work only decision, id and reason count, since nothing else of them has an effect.
 */
export function differenceOf(recorded: RecordedDecision, evaluation: Evaluation): Difference | null {
  const before = judgementOf({ ...recorded, ...policySaid(recorded) });
  const after = judgementOf(evaluation);
  const terms = [...new Set([...Object.keys(before.terms), ...Object.keys(after.terms)])].filter(
    (name) => !sameTerm(before.terms[name], after.terms[name]),
  );
  const changed = [...CORE.filter((name) => before.core[name] !== after.core[name]), ...terms];
  if (changed.length === 0) return null;
  return { changed, from: saidOf(before, terms), to: saidOf(after, terms) };
}

interface Judgement {
  core: Omit<PolicySaid, 'terms'>;
  terms: Record<string, unknown>;
}

interface Said {
  decision: RuleDecision;
  ruleId: string | null;
  reason: string;
  rule: RuleSnapshot | null;
  dedupeKey: string | null;
  run: RunSpec | null;
}

function judgementOf({ decision, ruleId, reason, rule, dedupeKey, run }: Said): Judgement {
  const works = rule !== null && (decision === 'dispatch' || decision === 'hold');
  const { id: _id, decision: _decision, reason: _reason, to, ...terms } = works ? rule : NO_WORK;
  return {
    core: {
      decision,
      rule_id: ruleId,
      reason,
      dedupe_key: dedupeKey,
      pool: to?.pool ?? null,
      executor: to?.executor ?? null,
      priority: to?.priority ?? null,
    },
    // A command counts as it was filled in: another way to write the same one changes nothing.
    terms: works ? { ...terms, requires: to?.requires, run } : terms,
  };
}

const NO_WORK: Partial<RuleSnapshot> = {};

const saidOf = ({ core, terms }: Judgement, shown: readonly string[]): PolicySaid => ({
  ...core,
  terms: Object.fromEntries(shown.map((name) => [name, shownTerm(terms[name])])),
});

const shownTerm = (term: unknown): unknown =>
  term === undefined || JSON.stringify(term).length > DIFF_LIMITS.termChars ? null : term;

/** A part that an older version did not know is the same as one that is empty. */
const sameTerm = (a: unknown, b: unknown): boolean => (isNothing(a) && isNothing(b)) || isDeepStrictEqual(a, b);

const isNothing = (term: unknown): boolean => term == null || (Array.isArray(term) && term.length === 0);
