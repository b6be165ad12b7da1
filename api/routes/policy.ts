import { z } from 'zod';
import { sourceEvent } from '../../contracts/events';
import { ruleExplanation } from '../../contracts/explanation';
import { Problem } from '../../contracts/problems';
import { runSpec } from '../../contracts/run';
import { requirements } from '../../contracts/requirements';
import { EXECUTORS, type TokenScope } from '../../contracts/terminology';
import { RULE_DECISIONS } from '../../contracts/policy';
import type { Evaluation } from '../../domain/policy/evaluate';
import { explainPolicy, type Explanation } from '../../domain/policy/explain';
import { parsePolicy } from '../../domain/policy/parse';
import type { Queryable } from '../../ledger/database';
import { activatePolicy, activePolicy, policyVersion, type StoredPolicy } from '../../ledger/policies';
import { poolFor } from '../../ledger/routing';
import { checkedPolicy } from '../checked-policy';
import { route } from '../route';

const policyAnswer = z
  .object({
    version: z.int(),
    /** SHA-256 of the text. */
    policy_hash: z.string(),
    /** The YAML text. */
    source: z.string(),
    created_at: z.iso.datetime(),
    created_by: z.string(),
  })
  .meta({ id: 'Policy' });

const answerOf = (stored: StoredPolicy): z.infer<typeof policyAnswer> => ({
  version: stored.version,
  policy_hash: stored.policy_hash,
  source: stored.source,
  created_at: stored.created_at.toISOString(),
  created_by: stored.created_by,
});

const getPolicy = route({
  method: 'get',
  path: '/api/policy',
  operationId: 'getPolicy',
  tag: 'Policy',
  summary: 'The active policy, or an earlier version',
  access: { kind: 'token', scopes: ['policy:write', 'workloads:read', 'audit:read'] },
  query: z.strictObject({
    version: z
      .string()
      .regex(/^[1-9][0-9]{0,8}$/, 'must be a version number')
      .optional(),
  }),
  answers: { 200: { description: 'The policy.', schema: policyAnswer } },
  problems: ['not_found'],
  handle: async ({ deps, principal, query }) => {
    const stored =
      query.version === undefined
        ? await activePolicy(deps.db, principal.tenantId)
        : await policyVersion(deps.db, principal.tenantId, Number(query.version));
    if (!stored) throw new Problem('not_found', 'There is no such policy; without one every event is ignored.');
    return { status: 200, body: answerOf(stored) };
  },
});

const yamlText = z
  .string()
  .transform((source) => ({ source }))
  .meta({ type: 'string', description: 'The policy as YAML.' });
const policyUpload = z.strictObject({ source: z.string() }).meta({ id: 'PolicyUpload' });

const putPolicy = route({
  method: 'put',
  path: '/api/policy',
  operationId: 'putPolicy',
  tag: 'Policy',
  summary: 'Replace the policy',
  description:
    'Atomic: it decides every event admitted from now on, or it is refused as a whole and the old one stays. Workloads go on by ' +
    'the rule they were admitted by. The text that is active already changes nothing.',
  access: { kind: 'token', scopes: ['policy:write'] },
  body: { 'application/yaml': yamlText, 'text/yaml': yamlText, 'application/json': policyUpload },
  answers: {
    200: {
      description: 'Active.',
      schema: z.object({ version: z.int(), policy_hash: z.string(), changed: z.boolean() }),
    },
  },
  problems: ['policy.invalid'],
  handle: async ({ deps, principal, body: { source } }) => {
    const { hash } = await checkedPolicy(deps, principal.tenantId, source);
    const { version, changed } = await activatePolicy(
      deps.db,
      principal.tenantId,
      { source, hash },
      `token:${principal.tokenId}`,
    );
    return { status: 200, body: { version, policy_hash: hash, changed } };
  },
});

const evaluationAnswer = z
  .object({
    /** Null for a text that was sent along, and where there is no policy. */
    policy_version: z.int().nullable(),
    policy_hash: z.string().nullable(),
    decision: z.enum(RULE_DECISIONS),
    /** The rule that would match; null when the default decides. */
    rule_id: z.string().nullable(),
    reason: z.string(),
    dedupe_key: z.string().nullable(),
    /** Where the work would go; null where none comes of it. */
    to: z
      .object({
        /** The pool: named by the rule, or the one that would be chosen now; null when none serves what is required. */
        pool: z.string().nullable(),
        chosen: z.boolean().meta({ description: 'The rule names no pool: admission chooses one.' }),
        /** What a worker must have declared; null when nothing is required. */
        requires: requirements.nullable(),
        executor: z.enum(EXECUTORS),
        priority: z.int(),
      })
      .nullable(),
    /** The command that would be run; null when none would. */
    run: runSpec.nullable(),
    /** Every rule in order, and why it matched or not. */
    rules: z.array(ruleExplanation),
  })
  .meta({ id: 'Evaluation' });

const NO_POLICY: Explanation = {
  evaluation: {
    decision: 'ignore',
    ruleId: null,
    reason: 'no_policy',
    rule: null,
    dedupeKey: null,
    grants: [],
    run: null,
    trace: [],
  },
  rules: [],
};

/** Compiling a policy costs more than reading one. */
const MAY_TRY_OWN: readonly TokenScope[] = ['policy:write', 'admin', 'operator'];

const evaluateRoute = route({
  method: 'post',
  path: '/api/policy/evaluate',
  operationId: 'evaluatePolicy',
  tag: 'Policy',
  summary: 'Try an event on a policy',
  description:
    'Says which rule would match and why the others would not. Nothing is recorded and dedupe claims are not looked at. Without ' +
    '`source` the active policy is tried; with it the scope `policy:write` is needed.',
  access: { kind: 'token', scopes: ['policy:write', 'workloads:read'] },
  body: {
    'application/json': z
      .strictObject({ event: sourceEvent, source: z.string().optional().meta({ description: 'A policy as YAML.' }) })
      .meta({ id: 'EvaluationRequest' }),
  },
  answers: { 200: { description: 'What would be decided.', schema: evaluationAnswer } },
  problems: ['policy.invalid'],
  handle: async ({ deps, principal, body: { event, source } }) => {
    if (source !== undefined && !principal.scopes.some((scope) => MAY_TRY_OWN.includes(scope))) {
      throw new Problem('auth.scope_required', 'Trying a policy of your own needs the scope policy:write.');
    }
    const stored = source === undefined ? await activePolicy(deps.db, principal.tenantId) : null;
    const text = source ?? stored?.source;
    const policy =
      text === undefined
        ? null
        : await (stored ? parsePolicy(text).policy : checkedPolicy(deps, principal.tenantId, text));
    const { evaluation, rules } = policy ? explainPolicy(policy, event, { tenant: principal.tenantId }) : NO_POLICY;
    const body: z.infer<typeof evaluationAnswer> = {
      policy_version: stored?.version ?? null,
      policy_hash: policy?.hash ?? null,
      decision: evaluation.decision,
      rule_id: evaluation.ruleId,
      reason: evaluation.reason,
      dedupe_key: evaluation.dedupeKey,
      to: await destination(deps.db, principal.tenantId, evaluation),
      run: evaluation.run,
      rules: rules.map(({ ruleId, ...rest }) => ({ rule_id: ruleId, ...rest })),
    };
    return { status: 200, body };
  },
});

async function destination(
  db: Queryable,
  tenantId: string,
  { decision, rule }: Evaluation,
): Promise<z.infer<typeof evaluationAnswer>['to']> {
  if (!rule || (decision !== 'dispatch' && decision !== 'hold')) return null;
  const { pool, requires = null, executor, priority } = rule.to;
  return { pool: await poolFor(db, tenantId, rule.to), chosen: pool === null, requires, executor, priority };
}

/** Routes of the policy. */
export const policyRoutes = [getPolicy, putPolicy, evaluateRoute];
