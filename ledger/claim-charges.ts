import { Problem } from '../contracts/problems';
import type { Entitlement, PoolQuota, TenantQuota } from '../contracts/quotas';
import { exceeded, refusalOf } from '../domain/quotas';
import type { Queryable } from './database';
import { charge, lockQuotas, standingsOf } from './quota-standings';
import { collectMinutes, reserveMinute } from './worker-minutes';
import type { WorkloadRow } from './workload-row';

/** What a claim's worker row says of quotas. */
export interface ClaimGates {
  /** Of the workload's tenant; null when there is no workload. */
  entitlement: Entitlement | null;
  /** Somebody limits the tenant's work or the pool's claims. */
  limited: boolean;
}

const TENANT_LIMITS = ['concurrent_work', 'worker_minutes_per_hour'] as const satisfies readonly TenantQuota[];
const POOL_LIMITS = ['claims_per_minute'] as const satisfies readonly PoolQuota[];
const listed = (quotas: readonly string[]): string => quotas.map((quota) => `'${quota}'`).join(', ');

/** Columns of {@link ClaimGates}, for a statement that has the pool as `p`; `tenant` is its parameter of the workload's tenant. */
export const claimGates = (tenant: string): string => `
  (SELECT t.entitlement FROM tenants t WHERE t.tenant_id = ${tenant}::text) AS entitlement,
  EXISTS (SELECT 1 FROM quotas q WHERE q.scope = 'pool' AND q.scope_id = p.pool_id AND q.quota IN (${listed(POOL_LIMITS)}))
    OR EXISTS (SELECT 1 FROM quotas q WHERE q.scope = 'tenant' AND q.scope_id = ${tenant}::text
      AND q.quota IN (${listed(TENANT_LIMITS)})) AS limited`;

/** A claim is tried again after this time while its tenant is not entitled, milliseconds. */
const LAPSED_AGAIN_MS = 60_000;

/**
 * Charges a new claim to the quotas of its tenant and pool, or says why it is refused. The last thing before the lease is granted:
 * what was charged stays charged. Not for repeats and resumptions. Costs no round trip where nobody set a limit.
 */
export async function chargeClaim(tx: Queryable, row: WorkloadRow, gates: ClaimGates): Promise<Problem | null> {
  if (gates.entitlement === 'lapsed') return notEntitled();
  return gates.limited ? chargeLimits(tx, row) : null;
}

const notEntitled = (): Problem =>
  new Problem('entitlement.lapsed', 'The tenant’s entitlement has lapsed: none of its work is begun.', {
    retryAfterMs: LAPSED_AGAIN_MS,
  });

async function chargeLimits(tx: Queryable, row: WorkloadRow): Promise<Problem | null> {
  const { tenant_id: tenantId, workload_id: workId, pool_id: poolId } = row;
  const asked = { tenantId, tenantQuotas: TENANT_LIMITS, poolId, poolQuotas: POOL_LIMITS, butOf: workId };
  await lockQuotas(tx, asked);
  await collectMinutes(tx, tenantId, workId);
  const standings = await standingsOf(tx, asked);
  const full = exceeded(standings);
  if (full) return refusalOf(full);
  await charge(tx, standings);
  if (standings.some(({ quota }) => quota === 'worker_minutes_per_hour')) await reserveMinute(tx, tenantId, workId);
  return null;
}
