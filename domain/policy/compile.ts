import { createHash } from 'node:crypto';
import { DEFAULT_HOLD, destinationOf } from '../../contracts/policy';
import type { PolicyDocument, PolicyRule, RuleSnapshot } from '../../contracts/policy';
import { retryTerms } from '../../contracts/retry';
import { runTemplate } from '../../contracts/run-rule';
import { compileExpression } from './expression';
import type { Expression } from './expression';
import { compileGrants, type CompiledGrant } from './grants';
import { compileRun, type CompiledRun } from './run-spec';
import { compileFlowKeys, flowSnapshot, type FlowKeys } from './flow-keys';

/** A rule ready to judge events. */
export interface CompiledRule {
  readonly id: string;
  readonly when: Expression;
  readonly dedupeKey: Expression | null;
  readonly grants: readonly CompiledGrant[];
  /** Null when its executor runs no command. */
  readonly run: CompiledRun | null;
  readonly flowKeys: FlowKeys<Expression>;
  readonly snapshot: RuleSnapshot;
}

/** A policy ready to judge events. Immutable; the same text always compiles to the same. */
export interface CompiledPolicy {
  /** Lower-case hex SHA-256 of the exact text, as UTF-8. */
  readonly hash: string;
  readonly default: { readonly decision: 'ignore' | 'deny'; readonly reason: string };
  readonly rules: readonly CompiledRule[];
}

/** Lower-case hex SHA-256 of the exact text, as UTF-8. */
const policyHash = (yamlText: string): string => createHash('sha256').update(yamlText, 'utf8').digest('hex');

/** Compiles a document that passed every check. */
export function compilePolicy(yamlText: string, document: PolicyDocument): CompiledPolicy {
  return {
    hash: policyHash(yamlText),
    default: document.default,
    rules: document.rules.map((rule) => ({
      id: rule.id,
      when: compileExpression(rule.when),
      dedupeKey: rule.dedupe ? compileExpression(rule.dedupe.key) : null,
      grants: compileGrants(rule.capabilities),
      run: rule.run ? compileRun(runTemplate(rule.run)) : null,
      flowKeys: compileFlowKeys(rule),
      snapshot: freezeJson(snapshotOf(rule)),
    })),
  };
}

function snapshotOf(rule: PolicyRule): RuleSnapshot {
  const { prompt, include = [], response_policy }: Partial<NonNullable<PolicyRule['trigger']>> = rule.trigger ?? {};
  return {
    id: rule.id,
    decision: rule.decision,
    reason: rule.reason ?? rule.id,
    dedupe: rule.dedupe ? { window: rule.dedupe.window, on_duplicate: rule.dedupe.on_duplicate } : null,
    ...flowSnapshot(rule),
    to: destinationOf(rule.to),
    trigger: { prompt: prompt ?? null, include, response_policy: response_policy ?? null },
    deadlines: rule.deadlines,
    retry: retryTerms(rule),
    ...(rule.run ? { run: runTemplate(rule.run) } : {}),
    hold: rule.decision === 'hold' ? (rule.hold ?? DEFAULT_HOLD) : null,
    capabilities: rule.capabilities,
  };
}

/** Snapshots are handed out by reference; nobody may change the rule under the others. */
function freezeJson<T extends object>(value: T): T {
  for (const member of Object.values(value) as unknown[]) {
    if (member !== null && typeof member === 'object') freezeJson(member);
  }
  return Object.freeze(value);
}
