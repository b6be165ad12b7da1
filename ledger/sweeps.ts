import { LEASED_EXECUTORS } from '../contracts/terminology';
import { forgetUseKeys } from './capability-authorize';
import type { Queryable } from './database';
import { pruneQuotas } from './quotas';
import { forgetDeletedStates } from './source-state-queries';
import { pruneWebhooks } from './webhook-messages';
import { pruneWorkWrites } from './work-writes/retention';

/**
 * Wakes open workloads whose deadline passed `graceMs` ago and whose workflow did not act: its history may be lost, or
 * Temporal was down. Returns how many.
 */
export async function wakeOverdue(db: Queryable, graceMs: number, limit = 500): Promise<number> {
  const rows = await db.query(
    `UPDATE workloads w SET wake_seq = wake_seq + 1, wake_at = clock_timestamp() - interval '1 hour'
     FROM (
       SELECT workload_id FROM workloads
       WHERE NOT closed AND deadline_at < clock_timestamp() - $1::float8 * interval '1 millisecond' AND wake_sent >= wake_seq
       ORDER BY deadline_at LIMIT $2 FOR UPDATE SKIP LOCKED
     ) due WHERE w.workload_id = due.workload_id RETURNING 1`,
    [graceMs, limit],
  );
  return rows.length;
}

/**
 * Wakes workloads whose command nobody holds any more for `graceMs`, and that nobody may take over: their workflow did not notice
 * that the worker is gone. Returns how many.
 */
export async function wakeAbandoned(db: Queryable, graceMs: number, limit = 500): Promise<number> {
  const rows = await db.query(
    `UPDATE workloads w SET wake_seq = wake_seq + 1, wake_at = clock_timestamp() - interval '1 hour'
     FROM (
       SELECT w.workload_id FROM leases l JOIN workloads w ON w.workload_id = l.work_id
       WHERE l.closed_at IS NULL AND l.delivery IS NOT NULL
         AND l.expires_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
         AND w.executor = ANY($3) AND NOT w.closed AND w.delivery = l.delivery AND w.wake_sent >= w.wake_seq
         AND NOT (w.executor IN ('remote', 'ci') AND EXISTS (
           SELECT 1 FROM deliveries d WHERE d.workload_id = l.work_id AND d.number = l.delivery AND d.target IS NOT NULL))
       ORDER BY l.expires_at LIMIT $2 FOR UPDATE OF w SKIP LOCKED
     ) due WHERE w.workload_id = due.workload_id RETURNING 1`,
    [graceMs, limit, LEASED_EXECUTORS],
  );
  return rows.length;
}

/** Open workloads nobody looked at for `everyMs`, so that a missing workflow run is noticed. Marks them as looked at. */
export async function takeUnswept(db: Queryable, everyMs: number, limit = 200): Promise<string[]> {
  const rows = await db.query<{ workload_id: string }>(
    `UPDATE workloads w SET swept_at = clock_timestamp()
     FROM (
       SELECT workload_id FROM workloads
       WHERE NOT closed AND swept_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
       ORDER BY swept_at LIMIT $2 FOR UPDATE SKIP LOCKED
     ) due WHERE w.workload_id = due.workload_id RETURNING w.workload_id`,
    [everyMs, limit],
  );
  return rows.map((row) => row.workload_id);
}

/** Puts workloads back that were taken but not looked at. */
export async function putBackUnswept(db: Queryable, workloadIds: readonly string[]): Promise<void> {
  if (workloadIds.length === 0) return;
  await db.query("UPDATE workloads SET swept_at = '-infinity' WHERE workload_id = ANY($1)", [workloadIds]);
}

/** Asks for a wake of workloads whose workflow has no run; the relay starts them again. */
export async function wakeAgain(db: Queryable, workloadIds: readonly string[]): Promise<void> {
  if (workloadIds.length === 0) return;
  await db.query(
    `UPDATE workloads SET wake_seq = wake_seq + 1, wake_at = clock_timestamp() - interval '1 hour'
     WHERE workload_id = ANY($1) AND NOT closed`,
    [workloadIds],
  );
}

export interface Retention {
  /** Event bodies of ended workloads, commands filled in from them, and what their workers wrote under their leases, go after this many days; identity hashes stay. */
  bodyDays: number;
  /**
   * Idempotency keys, deleted source state, lifecycle records of unknown ids, ended webhooks and their URLs are forgotten after
   * this many days; keys of capability uses after 8 at least.
   */
  noiseDays: number;
}

/** Applies the retention to at most `limit` rows of each kind. Returns how many rows it touched. */
export async function prune(db: Queryable, retention: Retention, limit = 1000): Promise<number> {
  const bodies = await db.query(
    `WITH ended AS MATERIALIZED (
       SELECT w.workload_id FROM workloads w JOIN events e USING (workload_id)
       WHERE e.body IS NOT NULL AND w.closed AND w.ended_at < clock_timestamp() - $1::float8 * interval '1 day'
       LIMIT $2 FOR UPDATE OF w SKIP LOCKED
     ), runs AS (
       UPDATE decisions SET run = NULL FROM ended WHERE decisions.workload_id = ended.workload_id AND run IS NOT NULL
     )
     UPDATE events SET body = NULL FROM ended WHERE events.workload_id = ended.workload_id RETURNING 1`,
    [retention.bodyDays, limit],
  );
  const keys = await db.query(
    `DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
       SELECT ctid FROM idempotency_keys WHERE created_at < clock_timestamp() - $1::float8 * interval '1 day' LIMIT $2)) RETURNING 1`,
    [retention.noiseDays, limit],
  );
  const strangers = await db.query(
    `DELETE FROM lifecycle_events WHERE seq IN (
       SELECT seq FROM lifecycle_events
       WHERE workload_id IS NULL AND received_at < clock_timestamp() - $1::float8 * interval '1 day' LIMIT $2) RETURNING 1`,
    [retention.noiseDays, limit],
  );
  const states = await forgetDeletedStates(db, retention.noiseDays, limit);
  const webhooks = await pruneWebhooks(db, retention.noiseDays, limit);
  const uses = await forgetUseKeys(db, retention.noiseDays, limit);
  const quotas = await pruneQuotas(db, limit);
  const written = await pruneWorkWrites(db, retention.bodyDays, limit);
  return bodies.length + keys.length + strangers.length + states + webhooks + uses + quotas + written;
}
