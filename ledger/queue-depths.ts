import type { QuotaScope } from '../contracts/quotas';
import type { Queryable } from './database';

/** What waits to be handed over. */
export interface Queue {
  work: number;
  /** How long the unit waits that waits longest; 0 when none does. */
  oldestSeconds: number;
}

const COLUMNS = `count(*)::int AS work,
  coalesce(greatest(0, extract(epoch FROM clock_timestamp() - min(waiting_since))), 0)::float8 AS "oldestSeconds"`;

/** Of a tenant: what is accepted or queued. Of a pool: what is queued for it. */
export async function queueOf(db: Queryable, scope: QuotaScope, id: string): Promise<Queue> {
  const [queue] = await db.query<Queue>(
    scope === 'tenant'
      ? `SELECT ${COLUMNS} FROM workloads WHERE tenant_id = $1 AND state IN ('accepted', 'queued')`
      : `SELECT ${COLUMNS} FROM workloads WHERE pool_id = $1 AND state = 'queued'`,
    [id],
  );
  return queue!;
}

/** The queues of all tenants and pools for which something waits, for metrics. */
export async function queues(db: Queryable): Promise<(Queue & { scope: QuotaScope; id: string })[]> {
  return db.query(
    `SELECT 'tenant' AS scope, tenant_id AS id, ${COLUMNS} FROM workloads WHERE state IN ('accepted', 'queued') GROUP BY tenant_id
     UNION ALL
     SELECT 'pool', pool_id, ${COLUMNS} FROM workloads WHERE state = 'queued' AND pool_id IS NOT NULL GROUP BY pool_id`,
  );
}
