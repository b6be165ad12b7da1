import { z } from 'zod';
import { DIFF_DEFAULTS, DIFF_LIMITS, policyDiff } from '../../contracts/policy-diff';
import { diffPolicy } from '../../ledger/policy-diff';
import { checkedPolicy } from '../checked-policy';
import { route } from '../route';

/** It answers with what it has then: whoever asks should not have to guess whether it still works. */
const BUDGET_MS = 20_000;

const request = z
  .strictObject({
    candidate: z.string().meta({ description: 'A policy as YAML.' }),
    last: z
      .int()
      .min(1)
      .max(DIFF_LIMITS.last)
      .default(DIFF_DEFAULTS.last)
      .meta({ description: 'How many of the newest events.' }),
    max_changes: z
      .int()
      .min(0)
      .max(DIFF_LIMITS.changes)
      .default(DIFF_DEFAULTS.changes)
      .meta({ description: 'How many changes are listed; all are counted.' }),
  })
  .meta({ id: 'PolicyDiffRequest' });

const diffRoute = route({
  method: 'post',
  path: '/api/policy/diff',
  operationId: 'diffPolicy',
  tag: 'Policy',
  summary: 'Try a policy on recorded events',
  description:
    'Judges the newest recorded events by a candidate and lists each decision on record that it would change. Nothing is recorded. What ' +
    'policies say is compared, so dedupe claims have no part in it: where the dedupe key changes, it says so. It stops after ' +
    `${BUDGET_MS / 1000} seconds with what it has (\`complete: false\`).`,
  access: { kind: 'token', scopes: ['policy:write'] },
  body: { 'application/json': request },
  answers: { 200: { description: 'What would change.', schema: policyDiff } },
  problems: ['policy.invalid', 'policy.diff_busy'],
  handle: async ({ deps, principal: { tenantId }, body, response }) => {
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const diff = await deps.policyDiffs.run(tenantId, async () =>
      diffPolicy(deps.db, {
        tenantId,
        candidate: await checkedPolicy(deps, tenantId, body.candidate),
        last: body.last,
        maxChanges: body.max_changes,
        budgetMs: BUDGET_MS,
        signal: gone.signal,
      }),
    );
    return { status: 200, body: diff };
  },
});

/** Routes that compare policies. */
export const policyDiffRoutes = [diffRoute];
