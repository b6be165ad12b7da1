import type { FlowSnapshot } from '../../contracts/flow-control';
import type { PolicyRule } from '../../contracts/policy';
import { compileExpression } from './expression';
import type { Expression } from './expression';

/** The limits of a rule that have a key of their own; the others count over the whole rule. */
export type FlowKeys<T> = Partial<Record<'debounce' | 'concurrency' | 'rate', T>>;

/** Compiles the keys of a rule's limits that name one. */
export function compileFlowKeys(rule: PolicyRule): FlowKeys<Expression> {
  const sources = [
    ['debounce', rule.debounce?.key],
    ['concurrency', rule.limits?.concurrency?.key],
    ['rate', rule.limits?.rate?.key],
  ] as const;
  const keys: FlowKeys<Expression> = {};
  for (const [gate, source] of sources) if (source !== undefined) keys[gate] = compileExpression(source);
  return keys;
}

/** The limits of a rule for its snapshot; nothing when it has none. */
export function flowSnapshot({ limits, debounce }: PolicyRule): { flow?: FlowSnapshot } {
  if (!limits && !debounce) return {};
  return {
    flow: {
      concurrency: limits?.concurrency ? { max: limits.concurrency.max } : null,
      rate: limits?.rate ? { max: limits.rate.max, per: limits.rate.per } : null,
      debounce: debounce ? { for: debounce.for, max_wait: debounce.max_wait ?? null } : null,
    },
  };
}
