import { CAPABILITY_LIMITS, type CapabilityGrant } from '../../contracts/capabilities';
import type { PolicyRule } from '../../contracts/policy';
import type { CelContext } from './cel-environment';
import type { Meter } from './cel-meter';
import { compileExpression, evaluateExpression, type Expression, type Outcome } from './expression';

/** A rule's capability ready to be granted: its CEL resources compiled. */
export interface CompiledGrant {
  /** The grant but for `literals`. */
  readonly fixed: Omit<CapabilityGrant, 'literals'>;
  readonly literals: readonly Expression[];
}

export const compileGrants = (capabilities: PolicyRule['capabilities']): CompiledGrant[] =>
  capabilities.map(({ hook, kind, operations, resources, max_uses, ttl }) => ({
    fixed: {
      hook,
      kind,
      operations,
      globs: resources.flatMap((each) => (typeof each === 'string' ? [] : [each.glob])),
      max_uses,
      ttl,
    },
    literals: resources.flatMap((each) => (typeof each === 'string' ? [compileExpression(each)] : [])),
  }));

/**
 * The grants of one event. A resource that cannot be computed makes all of it fail with a code: to leave it out could start
 * work that cannot be done, and nothing else may take its place.
 */
export function resolveGrants(
  grants: readonly CompiledGrant[],
  context: CelContext,
  budget: Meter,
): { grants: CapabilityGrant[] } | { error: string } {
  const resolved: CapabilityGrant[] = [];
  for (const { fixed, literals } of grants) {
    const values: string[] = [];
    for (const expression of literals) {
      const resource = resourceOf(evaluateExpression(expression, context, budget));
      if ('error' in resource) return resource;
      values.push(resource.value);
    }
    resolved.push({ ...fixed, literals: values });
  }
  return { grants: resolved };
}

function resourceOf(outcome: Outcome): { value: string } | { error: string } {
  if ('error' in outcome) return { error: outcome.error };
  const { value } = outcome;
  if (typeof value !== 'string') return { error: 'not_a_string' };
  if (value === '') return { error: 'empty' };
  if (value.length > CAPABILITY_LIMITS.resourceChars) return { error: 'too_long' };
  return /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u.test(value) ? { error: 'unprintable' } : { value };
}
