import type { Queryable } from './database';

/** SQL: a write that found its lease live has ended when the lease is over for so long. */
const UNDER_WAY = '10 seconds';

/** Reserves the first minute of a lease that is about to be granted; it is charged with the claim. */
export async function reserveMinute(tx: Queryable, tenantId: string, workId: string): Promise<void> {
  await tx.query(
    `INSERT INTO metered_leases AS m (work_id, tenant_id, since, reserved_in)
     SELECT $1, $2, at, quota_window('worker_minutes_per_hour', at) FROM (SELECT clock_timestamp() AS at OFFSET 0) now
     ON CONFLICT (work_id) DO UPDATE SET since = excluded.since, reserved_in = excluded.reserved_in`,
    [workId, tenantId],
  );
}

/**
 * Charges the minutes of a tenant's leases that have ended, and of the lease before the one that `claimed` is about to get: each
 * begun minute after the reserved one, in the window of the end, up to the limit. A lease under which no work began gives its minute
 * back, also when it only ran out. Whoever reads the use does this first, so ending
 * a lease waits for nobody. The quota must be locked.
 */
export async function collectMinutes(tx: Queryable, tenantId: string, claimed: string | null): Promise<void> {
  await tx.query(
    `WITH ended AS (
       DELETE FROM metered_leases m USING leases l
       WHERE m.tenant_id = $1 AND l.work_id = m.work_id AND (l.closed_at IS NOT NULL OR l.work_id = $2
         OR (l.delivery IS NULL AND l.expires_at < clock_timestamp() - interval '${UNDER_WAY}'))
       RETURNING m.reserved_in, m.since, least(l.closed_at, l.expires_at, clock_timestamp()) AS until,
         l.delivery IS NULL OR coalesce(l.close_reason = 'not_delivered', false) AS given_back
     ), changes AS (
       SELECT window_at, sum(minutes)::bigint AS minutes FROM (
         SELECT CASE WHEN given_back THEN reserved_in ELSE quota_window('worker_minutes_per_hour', until) END AS window_at,
           CASE WHEN given_back THEN -1 ELSE greatest(0, ceil(extract(epoch FROM until - since) / 60) - 1) END AS minutes
         FROM ended
       ) each GROUP BY window_at
     )
     INSERT INTO quota_use AS u (scope, scope_id, quota, window_at, used)
     SELECT 'tenant', $1, q.quota, c.window_at, CASE WHEN c.minutes > 0 THEN least(c.minutes, q.max) ELSE c.minutes END
     FROM changes c JOIN quotas q ON q.scope = 'tenant' AND q.scope_id = $1 AND q.quota = 'worker_minutes_per_hour'
     WHERE c.minutes > 0 OR (c.minutes < 0 AND EXISTS (
       SELECT 1 FROM quota_use k WHERE k.scope = 'tenant' AND k.scope_id = $1 AND k.quota = q.quota AND k.window_at = c.window_at))
     ON CONFLICT (scope, scope_id, quota, window_at) DO UPDATE SET used = CASE
       WHEN excluded.used < 0 THEN greatest(0, u.used + excluded.used)
       ELSE greatest(u.used, least(u.used + excluded.used, (
         SELECT max FROM quotas WHERE scope = 'tenant' AND scope_id = $1 AND quota = 'worker_minutes_per_hour'))) END`,
    [tenantId, claimed],
  );
}
