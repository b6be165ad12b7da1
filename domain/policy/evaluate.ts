import type { CapabilityGrant } from '../../contracts/capabilities';
import type { SourceEvent } from '../../contracts/events';
import type { RuleDecision, RuleSnapshot } from '../../contracts/policy';
import type { RunSpec } from '../../contracts/run';
import { celContext } from './cel-environment';
import type { CelContext } from './cel-environment';
import { EVENT_UNITS, Meter } from './cel-meter';
import { evaluateExpression } from './expression';
import type { Expression, Outcome } from './expression';
import type { CompiledPolicy, CompiledRule } from './compile';
import { resolveGrants } from './grants';
import { resolveRun } from './run-spec';
import type { FlowKeys } from './flow-keys';

/** Longest dedupe key, in UTF-16 units. */
const MAX_DEDUPE_KEY = 1024;

/** What became of one rule. `error` is a code and never holds values of the event. */
export interface RuleTrace {
  ruleId: string;
  outcome: 'matched' | 'not_matched' | 'error' | 'not_reached';
  error?: string;
}

/** What a policy says of one event. */
export interface Evaluation {
  decision: RuleDecision;
  /** The rule that matched; null when the policy's default decides. */
  ruleId: string | null;
  reason: string;
  rule: RuleSnapshot | null;
  /** Set when the decision is `dispatch` or `hold` and the rule has a dedupe key. */
  dedupeKey: string | null;
  /** What each delivery of the work may do; empty unless the decision is `dispatch` or `hold`. */
  grants: CapabilityGrant[];
  /** The command, filled in from the event; null when none is run, or the decision is neither `dispatch` nor `hold`. */
  run: RunSpec | null;
  /** Keys of the rule's limits that have one; set with `dedupeKey`. */
  flowKeys?: FlowKeys<string>;
  /** Every rule up to the one that matched, in order. */
  trace: RuleTrace[];
}

/**
 * Judges one event: the first rule whose `when` is true decides, else the default. Pure, total and bounded in cost.
 *
 * A rule that cannot be evaluated does not match and is recorded as `error`. A matched rule whose dedupe key cannot be computed
 * makes the decision `deny` with reason `dedupe_key_error`: to dispatch without the key could do work twice, and to go on to
 * the next rule could do work that this rule was written to keep apart. A capability whose resource cannot be computed makes
 * it `deny` with reason `capability_error` in the same way, the key of a limit `limit_key_error`, a part of a command `run_error`.
 */
export function evaluatePolicy(policy: CompiledPolicy, event: SourceEvent, { tenant }: { tenant: string }): Evaluation {
  const context = celContext(event, tenant);
  const budget = new Meter(EVENT_UNITS);
  const trace: RuleTrace[] = [];
  for (const rule of policy.rules) {
    const verdict = verdictOf(rule.when, context, budget);
    if (verdict === true) return matched(rule, context, budget, trace);
    trace.push({
      ruleId: rule.id,
      ...(verdict === false ? { outcome: 'not_matched' } : { outcome: 'error', error: verdict }),
    });
  }
  return { ...policy.default, ruleId: null, rule: null, dedupeKey: null, grants: [], run: null, trace };
}

/** True, false, or the code of why neither. */
export function verdictOf(when: Expression, context: CelContext, budget: Meter): boolean | string {
  const outcome = evaluateExpression(when, context, budget);
  if ('error' in outcome) return outcome.error;
  return typeof outcome.value === 'boolean' ? outcome.value : 'not_a_bool';
}

function matched(rule: CompiledRule, context: CelContext, budget: Meter, before: RuleTrace[]): Evaluation {
  const { id, snapshot } = rule;
  const base = { ruleId: id, rule: snapshot, dedupeKey: null, grants: [], run: null };
  const trace: RuleTrace[] = [...before, { ruleId: id, outcome: 'matched' }];
  const { decision, reason } = snapshot;
  if (decision === 'ignore' || decision === 'deny') return { ...base, decision, reason, trace };
  const denied = (what: string, code: string, error = `${what}_error`): Evaluation => {
    trace[trace.length - 1] = { ruleId: id, outcome: 'matched', error: `${what}:${code}` };
    return { ...base, decision: 'deny', reason: error, trace };
  };

  const key = rule.dedupeKey ? keyOf(evaluateExpression(rule.dedupeKey, context, budget)) : { value: null };
  if ('error' in key) return denied('dedupe_key', key.error);
  const flowKeys: FlowKeys<string> = {};
  for (const gate of ['debounce', 'concurrency', 'rate'] as const) {
    const expression = rule.flowKeys[gate];
    if (!expression) continue;
    const limitKey = keyOf(evaluateExpression(expression, context, budget));
    if ('error' in limitKey) return denied(`${gate}_key`, limitKey.error, 'limit_key_error');
    flowKeys[gate] = limitKey.value;
  }
  const granted = resolveGrants(rule.grants, context, budget);
  if ('error' in granted) return denied('capability', granted.error);
  const filled = rule.run ? resolveRun(rule.run, context, budget) : { run: null };
  if ('error' in filled) return denied(`run.${filled.at}`, filled.error, 'run_error');
  const limited = snapshot.flow && { flowKeys };
  const { grants } = granted;
  return { ...base, decision, reason, dedupeKey: key.value, ...limited, grants, run: filled.run, trace };
}

function keyOf(outcome: Outcome): { value: string } | { error: string } {
  if ('error' in outcome) return outcome;
  const { value } = outcome;
  if (typeof value !== 'string') return { error: 'not_a_string' };
  if (value === '') return { error: 'empty' };
  if (value.length > MAX_DEDUPE_KEY) return { error: 'too_long' };
  // Neither can be stored, and a replacement could make two keys one.
  return /[\0\p{Cs}]/u.test(value) ? { error: 'unprintable' } : { value };
}
