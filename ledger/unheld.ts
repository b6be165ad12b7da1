import type { Queryable } from './database';
import { HEARD_LATELY } from './servers';

/**
 * Of these workloads, those that wait for a worker for `forMs` though nobody has them: no lease is live, and no worker of the pool said in
 * a heartbeat of the last minute that it is at work on them.
 */
export async function heldByNobody(db: Queryable, workloadIds: readonly string[], forMs: number): Promise<string[]> {
  if (workloadIds.length === 0) return [];
  const rows = await db.query<{ workload_id: string }>(
    `SELECT w.workload_id FROM workloads w
     WHERE w.workload_id = ANY($1) AND NOT w.closed AND w.state = 'queued' AND w.waiting_for IS NULL
       AND w.updated_at < clock_timestamp() - $2::float8 * interval '1 millisecond'
       AND NOT EXISTS (SELECT 1 FROM leases l
         WHERE l.work_id = w.workload_id AND l.closed_at IS NULL AND l.expires_at > clock_timestamp())
       AND NOT EXISTS (SELECT 1 FROM workers k
         WHERE k.pool_id = w.pool_id AND k.status NOT IN ('retired', 'revoked') AND w.workload_id = ANY(k.active_work_ids)
           AND ${HEARD_LATELY})`,
    [workloadIds, forMs],
  );
  return rows.map((row) => row.workload_id);
}
