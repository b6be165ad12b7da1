import { Problem } from '../contracts/problems';
import type { Entitlement, TenantQuota } from '../contracts/quotas';
import { exceeded, refusalOf, type Standing } from '../domain/quotas';
import type { Queryable } from './database';
import { lockQuotas, standingFrom, standingsOf, type StandingRow } from './quota-standings';

const LIMITS = [
  'queued_work',
  'queue_age',
  'events_per_minute',
  'events_per_hour',
] as const satisfies readonly TenantQuota[];
const LISTED = LIMITS.map((quota) => `'${quota}'`).join(', ');

/** What stands between a tenant and a new event. */
export interface AcceptGate {
  entitlement: Entitlement;
  standings: StandingRow[];
}

/** One row of {@link AcceptGate} for a tenant that somebody limits, none for all others; `tenant` is the parameter of its id. */
export const acceptGate = (tenant: string): string => `
  SELECT t.entitlement,
    (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM quota_standings('tenant', t.tenant_id, ARRAY[${LISTED}], NULL) s) AS standings
  FROM tenants t WHERE t.tenant_id = ${tenant} AND (t.entitlement <> 'active' OR EXISTS (
    SELECT 1 FROM quotas q WHERE q.scope = 'tenant' AND q.scope_id = ${tenant} AND q.quota IN (${LISTED})))`;

/** The refusal that needs no look under the lock: what has no room now is refused at the cost of that one statement. */
export function refusedAtOnce({ entitlement, standings }: AcceptGate, byOperator: boolean): Problem | null {
  if (entitlement === 'lapsed') {
    return new Problem('entitlement.lapsed', 'The tenant’s entitlement has lapsed: no new events are taken.');
  }
  return byOperator ? null : refused(standings.map(standingFrom));
}

export function refused(standings: readonly Standing[]): Problem | null {
  const full = exceeded(standings);
  return full && refusalOf(full);
}

/** Where the tenant's limits of new events stand, locked until the transaction ends. */
export async function lockedLimits(tx: Queryable, tenantId: string): Promise<Standing[]> {
  const asked = { tenantId, tenantQuotas: LIMITS };
  await lockQuotas(tx, asked);
  return standingsOf(tx, asked);
}
