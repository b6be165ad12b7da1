import { z } from 'zod';
import { Problem } from '../../contracts/problems';
import { ENTITLEMENTS, poolLimits, tenantLimits } from '../../contracts/quotas';
import { quotasOf, setEntitlement, setQuotas, type QuotaRecord } from '../../ledger/quotas';
import type { TokenPrincipal } from '../../ledger/tokens';
import { ownTenant } from '../auth';
import { operatorReason } from '../fields';
import { poolQuotasAnswer, quotaAnswer, tenantQuotasAnswer } from '../quota-answer';
import { route, type RouteAnswer } from '../route';

const tenantParams = z.object({ tenant_id: z.string().min(1).max(256) });
const poolParams = z.object({ pool_id: z.string().min(1).max(256) });
const TENANT_PATH = '/api/admin/tenants/{tenant_id}/quotas';
const POOL_PATH = '/api/admin/worker-pools/{pool_id}/quotas';
const ALL_OF_THEM =
  'All limits at once: what is not named has none. What was used within the present windows stays counted.';

const tenantAnswers = {
  200: { description: 'Limits that are set, and their use.', schema: z.object({ quotas: tenantQuotasAnswer }) },
};
const poolAnswers = {
  200: { description: 'Limits that are set, and their use.', schema: z.object({ quotas: poolQuotasAnswer }) },
};

const tenantAnswer = (tenantId: string, record: QuotaRecord): RouteAnswer => ({
  status: 200,
  body: { quotas: { tenant_id: tenantId, entitlement: record.entitlement, ...quotaAnswer(record) } },
});
const poolAnswer = (poolId: string, record: QuotaRecord): RouteAnswer => ({
  status: 200,
  body: { quotas: { pool_id: poolId, ...quotaAnswer(record) } },
});

/** A tenant's admin learns nothing of what is not its tenant's, not even that it is there. */
function mayRead(principal: TokenPrincipal, tenantId: string | null): boolean {
  const own = ownTenant(principal);
  return own === null || own === tenantId;
}

const getTenant = route({
  method: 'get',
  path: TENANT_PATH,
  operationId: 'getTenantQuotas',
  tag: 'Quotas',
  summary: 'What a tenant may use, and what it uses',
  access: { kind: 'admin' },
  params: tenantParams,
  answers: tenantAnswers,
  handle: async ({ deps, principal, params: { tenant_id: id } }) => {
    if (!mayRead(principal, id)) throw new Problem('not_found', 'No such tenant.');
    return tenantAnswer(id, await quotasOf(deps.db, { scope: 'tenant', id }));
  },
});

const putTenant = route({
  method: 'put',
  path: TENANT_PATH,
  operationId: 'setTenantQuotas',
  tag: 'Quotas',
  summary: 'Limit what a tenant may use',
  description: ALL_OF_THEM,
  access: { kind: 'operator' },
  params: tenantParams,
  body: {
    'application/json': z
      .strictObject({ limits: tenantLimits, reason: operatorReason })
      .meta({ id: 'TenantQuotaOrder' }),
  },
  answers: tenantAnswers,
  handle: async ({ deps, principal, params: { tenant_id: id }, body: { limits, reason } }) =>
    tenantAnswer(
      id,
      await setQuotas(deps.db, { scope: 'tenant', id }, () => limits, { actor: `token:${principal.tokenId}`, reason }),
    ),
});

const putEntitlement = route({
  method: 'put',
  path: '/api/admin/tenants/{tenant_id}/entitlement',
  operationId: 'setEntitlement',
  tag: 'Quotas',
  summary: 'Say whether a tenant may begin new work',
  description:
    'While it has `lapsed`, new events and claims get 402 `entitlement.lapsed`. What is under way goes on; reading, exporting, ' +
    'cancelling and revoking always work.',
  access: { kind: 'operator' },
  params: tenantParams,
  body: {
    'application/json': z
      .strictObject({ entitlement: z.enum(ENTITLEMENTS), reason: operatorReason })
      .meta({ id: 'EntitlementOrder' }),
  },
  answers: tenantAnswers,
  handle: async ({ deps, principal, params: { tenant_id: id }, body: { entitlement, reason } }) =>
    tenantAnswer(id, await setEntitlement(deps.db, id, entitlement, { actor: `token:${principal.tokenId}`, reason })),
});

const getPool = route({
  method: 'get',
  path: POOL_PATH,
  operationId: 'getPoolQuotas',
  tag: 'Quotas',
  summary: 'What a pool takes, and what it has',
  access: { kind: 'admin' },
  params: poolParams,
  answers: poolAnswers,
  handle: async ({ deps, principal, params: { pool_id: id } }) => {
    const record = await quotasOf(deps.db, { scope: 'pool', id });
    if (!mayRead(principal, record.tenantId)) throw new Problem('not_found', 'No such pool.');
    return poolAnswer(id, record);
  },
});

const putPool = route({
  method: 'put',
  path: POOL_PATH,
  operationId: 'setPoolQuotas',
  tag: 'Quotas',
  summary: 'Limit what a pool takes',
  description: ALL_OF_THEM,
  access: { kind: 'operator' },
  params: poolParams,
  body: {
    'application/json': z.strictObject({ limits: poolLimits, reason: operatorReason }).meta({ id: 'PoolQuotaOrder' }),
  },
  answers: poolAnswers,
  handle: async ({ deps, principal, params: { pool_id: id }, body: { limits, reason } }) =>
    poolAnswer(
      id,
      await setQuotas(deps.db, { scope: 'pool', id }, () => limits, { actor: `token:${principal.tokenId}`, reason }),
    ),
});

/** Routes of quotas and entitlements. */
export const adminQuotaRoutes = [getTenant, putTenant, putEntitlement, getPool, putPool];
