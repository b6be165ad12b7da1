import type { Queryable } from '../database';

const TABLES = ['work_events', 'work_records', 'work_projections', 'work_checkpoints'];

/** Deletes what was written of workloads that ended before this many days, at most `limit` rows of each kind. Returns how many. */
export async function pruneWorkWrites(db: Queryable, days: number, limit: number): Promise<number> {
  let pruned = 0;
  for (const table of TABLES) {
    const rows = await db.query(
      `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(
         SELECT t.ctid FROM ${table} t JOIN workloads w USING (workload_id)
         WHERE t.recorded_at < clock_timestamp() - $1::float8 * interval '1 day'
           AND w.closed AND w.ended_at < clock_timestamp() - $1::float8 * interval '1 day'
         LIMIT $2)) RETURNING 1`,
      [days, limit],
    );
    pruned += rows.length;
  }
  return pruned;
}
