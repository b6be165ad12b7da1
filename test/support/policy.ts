import type { SourceEvent } from '../../contracts/events';
import type { CompiledPolicy } from '../../domain/policy/compile';
import { parsePolicy } from '../../domain/policy/parse';
import { PolicyInvalid } from '../../domain/policy/policy-invalid';

/** A policy of the given rules, each a YAML flow mapping or block item without its dash. */
export const policyText = (...rules: string[]): string =>
  ['version: 1', 'default: { decision: ignore }', 'rules:', ...rules.map((rule) => `  - ${rule}`)].join('\n');

export const policyOf = (...rules: string[]): CompiledPolicy => parsePolicy(policyText(...rules)).policy;

/** A rule with one expression, quoted so that any CEL may stand in it. */
export const when = (id: string, expression: string, rest = 'decision: dispatch'): string =>
  `{ id: ${id}, when: ${JSON.stringify(expression)}, ${rest} }`;

export const eventOf = (data: unknown, fields: Partial<SourceEvent> = {}): SourceEvent => ({
  source: 'rss',
  action: 'triage',
  event_id: 'e-1',
  data: data as SourceEvent['data'],
  ...fields,
});

/** All problems of a document, one line each; fails when it is accepted. */
export function problemsOf(text: string, knownPools?: string[]): string[] {
  try {
    parsePolicy(text, knownPools ? { knownPools } : {});
  } catch (error) {
    if (error instanceof PolicyInvalid) return error.items().map((item) => item.detail);
    throw error;
  }
  throw new Error('the policy was accepted');
}
