import { z } from 'zod';
import { ENTITLEMENTS, POOL_QUOTAS, TENANT_QUOTAS, type Quota } from '../contracts/quotas';
import type { QuotaRecord } from '../ledger/quotas';

const useOf = <Q extends Quota>(quotas: readonly Q[]) =>
  z.array(
    z.object({
      quota: z.enum(quotas),
      limit: z.int(),
      /** Units, minutes, or seconds of `queue_age`. */
      used: z.int(),
      /** When the window ends and counting begins anew; null for what is read from what there is. */
      reset_at: z.iso.datetime().nullable(),
    }),
  );

const queue = z.object({
  /** Units that wait to be handed over. */
  work: z.int(),
  /** How long the unit waits that waits longest. */
  oldest_age_seconds: z.number(),
});

/** Limits of a tenant that are set, and how they stand. */
export const tenantQuotasAnswer = z
  .object({ tenant_id: z.string(), entitlement: z.enum(ENTITLEMENTS), use: useOf(TENANT_QUOTAS), queue })
  .meta({ id: 'TenantQuotas' });

/** Limits of a pool that are set, and how they stand. */
export const poolQuotasAnswer = z
  .object({ pool_id: z.string(), use: useOf(POOL_QUOTAS), queue })
  .meta({ id: 'PoolQuotas' });

/** What is said of a tenant or pool alike. */
export const quotaAnswer = ({ standings, queue: { work, oldestSeconds } }: QuotaRecord) => ({
  use: standings.map(({ quota, limit, used, resetAt }) => ({
    quota,
    limit,
    used,
    reset_at: resetAt?.toISOString() ?? null,
  })),
  queue: { work, oldest_age_seconds: oldestSeconds },
});
