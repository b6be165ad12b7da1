import type { ASTNode } from '@marcbachmann/cel-js';
import type { SourceEvent } from '../../contracts/events';
import { celContext } from './cel-environment';
import type { CelContext } from './cel-environment';
import { EVENT_UNITS, Meter } from './cel-meter';
import { evaluatePolicy, verdictOf } from './evaluate';
import type { Evaluation, RuleTrace } from './evaluate';
import { compileExpression, ExpressionInvalid } from './expression';
import type { CompiledPolicy, CompiledRule } from './compile';

/** One rule's outcome with a sentence that quotes the policy and never the event. */
export interface RuleExplanation extends RuleTrace {
  text: string;
}

/** An evaluation and why it came out so, for all rules. */
export interface Explanation {
  evaluation: Evaluation;
  rules: RuleExplanation[];
}

const QUOTE_CHARS = 200;

/** Why codes happen, for those that a rule's author meets most. */
const CAUSES: Record<string, string> = {
  no_such_key: 'it reads a field that the event lacks; test it with has(…) first, or read it with .?field.orValue(…)',
  no_such_overload: 'it applies an operator to types that do not go together (JSON numbers are doubles: 1.0)',
  no_matching_overload: 'it calls a function with a type that the function does not take',
  invalid_logical_operand: 'a part of && or || is not a bool',
  too_expensive: 'it is too expensive for an event of this size',
};

/** Judges one event and says of every rule why it matched or not: for a chain of `&&`, which part was the first not true. */
export function explainPolicy(policy: CompiledPolicy, event: SourceEvent, options: { tenant: string }): Explanation {
  const evaluation = evaluatePolicy(policy, event, options);
  const context = celContext(event, options.tenant);
  const budget = new Meter(EVENT_UNITS);
  const traces = new Map(evaluation.trace.map((trace) => [trace.ruleId, trace]));
  const rules = policy.rules.map((rule): RuleExplanation => {
    const trace = traces.get(rule.id) ?? { ruleId: rule.id, outcome: 'not_reached' };
    return { ...trace, text: textOf(rule, trace, context, budget) };
  });
  return { evaluation, rules };
}

function textOf(rule: CompiledRule, trace: RuleTrace, context: CelContext, budget: Meter): string {
  switch (trace.outcome) {
    case 'matched':
    case 'not_reached':
      return recordedText(trace);
    case 'not_matched':
    case 'error': {
      const part = firstNotTrue(rule, context, budget);
      // To look at parts costs extra: where that runs out, only what the trace says is certain.
      if (part.verdict !== (trace.error ?? false)) return recordedText(trace);
      return typeof part.verdict === 'boolean'
        ? `did not match: ${quote(part.source)} is false`
        : `did not match: ${quote(part.source)} cannot be evaluated (${part.verdict})${cause(part.verdict)}`;
    }
  }
}

/** The sentence of a rule's outcome when nothing but the outcome is known. */
export function recordedText({ outcome, error = '' }: RuleTrace): string {
  switch (outcome) {
    case 'matched':
      return error === '' ? 'matched' : `matched, but ${unusable(error)}: denied`;
    case 'not_reached':
      return 'not reached: an earlier rule matched';
    case 'not_matched':
      return 'did not match';
    case 'error':
      return `did not match: it cannot be evaluated (${error})${cause(error)}`;
  }
}

/** What of a matched rule has no usable value; the code's head says what it is of. */
function unusable(error: string): string {
  const [head, code] = error.split(/:(.*)/s);
  if (head?.startsWith('run.')) return `its ${head} has no usable value (${code})`;
  const what = head === 'capability' ? 'a resource of its capabilities' : `its ${head?.replace('_', ' ')}`;
  return `${what} has no usable value (${code ?? error})`;
}

/** The first part of a rule's top-level `&&` chain that is not true; the whole expression when no part says so by itself. */
function firstNotTrue(
  rule: CompiledRule,
  context: CelContext,
  budget: Meter,
): { source: string; verdict: boolean | string } {
  const whole = verdictOf(rule.when, context, budget);
  let failed: { source: string; verdict: string } | null = null;
  for (const source of conjuncts(rule.when.ast, rule.when.source)) {
    const verdict = partVerdict(source, context, budget);
    if (verdict === false) return { source, verdict };
    if (typeof verdict === 'string') failed ??= { source, verdict };
  }
  return failed && whole === failed.verdict ? failed : { source: rule.when.source, verdict: whole };
}

function conjuncts(node: ASTNode, source: string): string[] {
  if (node.op === '&&') return [...conjuncts(node.args[0], source), ...conjuncts(node.args[1], source)];
  return [source.slice(node.range.start, node.range.end)];
}

/** Null when the part does not stand by itself. */
function partVerdict(source: string, context: CelContext, budget: Meter): boolean | string | null {
  try {
    return verdictOf(compileExpression(source), context, budget);
  } catch (error) {
    if (error instanceof ExpressionInvalid) return null;
    throw error;
  }
}

function quote(source: string): string {
  const line = source.replace(/\s+/g, ' ').trim();
  return `\`${line.length > QUOTE_CHARS ? `${line.slice(0, QUOTE_CHARS)}…` : line}\``;
}

const cause = (code: string): string => (Object.hasOwn(CAUSES, code) ? `: ${CAUSES[code]}` : '');
