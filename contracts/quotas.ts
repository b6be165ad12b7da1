import { z } from 'zod';

/**
 * Limits of a tenant, all unset by default:
 * - `concurrent_work`: units of work held at once, by whatever workers
 * - `queued_work`: units that wait to be decided or handed over
 * - `queue_age`: seconds; while the unit that waits longest waits for longer, new events are refused
 * - `events_per_minute`, `events_per_hour`: events that are new
 * - `dispatches_per_hour`: units that policy sends to a pool
 * - `worker_minutes_per_hour`: minutes for which work is held, each lease rounded up
 */
export const TENANT_QUOTAS = [
  'concurrent_work',
  'queued_work',
  'queue_age',
  'events_per_minute',
  'events_per_hour',
  'dispatches_per_hour',
  'worker_minutes_per_hour',
] as const;
export type TenantQuota = (typeof TENANT_QUOTAS)[number];

/**
 * Limits of a pool, all unset by default:
 * - `queued_work`: units that wait for its workers
 * - `queue_age`: seconds; while the unit that waits longest waits for longer, new work is refused
 * - `claims_per_minute`: leases given to its workers
 */
export const POOL_QUOTAS = ['queued_work', 'queue_age', 'claims_per_minute'] as const;
export type PoolQuota = (typeof POOL_QUOTAS)[number];

export type QuotaScope = 'tenant' | 'pool';
export type Quota = TenantQuota | PoolQuota;

/** The quotas that a scope knows. */
export const QUOTAS_OF = { tenant: TENANT_QUOTAS, pool: POOL_QUOTAS } as const satisfies Record<
  QuotaScope,
  readonly Quota[]
>;

/** Whether a tenant may begin new work. What `lapsed` refuses is `entitlement.lapsed`; reading, cancelling and revoking go on. */
export const ENTITLEMENTS = ['active', 'lapsed'] as const;
export type Entitlement = (typeof ENTITLEMENTS)[number];

/** Greatest limit that can be set. */
export const MAX_LIMIT = 1_000_000_000_000;
const limit = z.int().min(0).max(MAX_LIMIT).optional();

const limitsOf = <Q extends Quota>(quotas: readonly Q[]) =>
  z.strictObject(Object.fromEntries(quotas.map((quota) => [quota, limit])) as Record<Q, typeof limit>);

/** All limits of a tenant: what is not named has none. */
export const tenantLimits = limitsOf(TENANT_QUOTAS).meta({ id: 'TenantLimits' });
/** All limits of a pool: what is not named has none. */
export const poolLimits = limitsOf(POOL_QUOTAS).meta({ id: 'PoolLimits' });
export type Limits = Partial<Record<Quota, number | undefined>>;
