import type { WorkloadState } from '../contracts/terminology';
import type { Queryable } from './database';
import { waitMs, type WorkloadRow } from './workload-row';

/** A committed fact that Temporal has not taken yet: start the workload's workflow, or wake it. */
export interface UnsentWake {
  workload_id: string;
  tenant_id: string;
  source: string;
  action: string;
  state: WorkloadState;
  closed: boolean;
  wake_seq: string;
  wait_ms: number | null;
  /** It is in lanes, where others may wait for it. */
  laned?: boolean;
}

export const unsentOf = (row: WorkloadRow): UnsentWake => ({
  workload_id: row.workload_id,
  tenant_id: row.tenant_id,
  source: row.source,
  action: row.action,
  state: row.state,
  closed: row.closed,
  wake_seq: row.wake_seq,
  wait_ms: waitMs(row),
  laned: row.lanes !== null,
});

/**
 * Takes up to `limit` wakes that are older than `minAgeMs`. Several relays share the work: what one has taken is another's
 * only after `minAgeMs` again, so a relay that dies loses nothing.
 */
export async function takeUnsent(db: Queryable, minAgeMs: number, limit: number): Promise<UnsentWake[]> {
  const rows = await db.query<WorkloadRow>(
    `UPDATE workloads w SET wake_at = clock_timestamp()
     FROM (
       SELECT workload_id FROM workloads
       WHERE wake_sent < wake_seq AND wake_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
       ORDER BY wake_at LIMIT $2 FOR UPDATE SKIP LOCKED
     ) due
     WHERE w.workload_id = due.workload_id
     RETURNING w.*, clock_timestamp() AS now`,
    [minAgeMs, limit],
  );
  return rows.map(unsentOf);
}

/** Notes what Temporal has taken; a newer fact of the same workload stays unsent. */
export async function markSent(
  db: Queryable,
  sent: readonly { workload_id: string; wake_seq: string }[],
): Promise<void> {
  if (sent.length === 0) return;
  await db.query(
    `UPDATE workloads w SET wake_sent = greatest(w.wake_sent, s.seq)
     FROM (SELECT workload_id, max(seq) AS seq FROM unnest($1::text[], $2::bigint[]) AS s(workload_id, seq) GROUP BY 1) s
     WHERE w.workload_id = s.workload_id`,
    [sent.map((wake) => wake.workload_id), sent.map((wake) => wake.wake_seq)],
  );
}

/** Facts waiting for Temporal, and the age of the oldest in milliseconds. */
export async function unsentBacklog(db: Queryable): Promise<{ count: number; oldest_ms: number }> {
  const [row] = await db.query<{ count: number; oldest_ms: number }>(
    `SELECT count(*)::int AS count,
       coalesce(extract(epoch FROM clock_timestamp() - min(wake_at)) * 1000, 0)::float8 AS oldest_ms
     FROM workloads WHERE wake_sent < wake_seq`,
  );
  return row!;
}
