import type { Database, Queryable } from './database';
import { WATCH_GAP_MS } from './fleet-watch';
import { FAILURE_WINDOW, failuresOf, MOST_FAILURES } from './worker-failures';
import { orderWorker } from './worker-orders';

/** What the fleet's health is judged by. */
export interface FleetSettings {
  /** A worker that was not heard of for this long is unhealthy, milliseconds. */
  unhealthyAfterMs: number;
}

export const DEFAULT_FLEET: FleetSettings = { unhealthyAfterMs: 60_000 };

/** Of each kind in one sweep; the next one goes on. */
const LIMIT = 500;

/**
 * Looks after the fleet once: workers that are silent or lose what they hold become `unhealthy`, and the audit is told of expired
 * credentials. Any number of processes may sweep at once: each worker is moved by one of them, with one audit row. Returns how much
 * was changed.
 */
export async function sweepFleet(db: Database, settings: FleetSettings): Promise<number> {
  await noteLeasesThatRanOut(db);
  const moved = await findUnhealthy(db, settings);
  const expired = await noteExpiredCredentials(db);
  await db.query(
    `DELETE FROM worker_failures WHERE (work_id, epoch) IN (
       SELECT work_id, epoch FROM worker_failures WHERE at < clock_timestamp() - interval '1 hour' LIMIT $1)`,
    [LIMIT],
  );
  return moved + expired;
}

/** Leases that ran out and that nobody claims any more count too, unless it was the unit's own deadline that ended them. */
async function noteLeasesThatRanOut(db: Queryable): Promise<void> {
  await db.query(
    `INSERT INTO worker_failures (work_id, epoch, worker_id, why, at)
     SELECT l.work_id, l.epoch, l.worker_id, CASE WHEN l.delivery IS NULL THEN 'lease_ran_out' ELSE 'command_lost' END, l.expires_at
     FROM leases l JOIN workloads w ON w.workload_id = l.work_id
     WHERE l.closed_at IS NULL AND l.expires_at < clock_timestamp() AND l.expires_at > clock_timestamp() - ${FAILURE_WINDOW}
       AND (l.delivery IS NULL OR w.executor <> 'opencrow')
       AND (w.deadline_at IS NULL OR l.expires_at < w.deadline_at)
       AND NOT EXISTS (SELECT 1 FROM worker_failures f WHERE f.work_id = l.work_id AND f.epoch = l.epoch)
     ORDER BY l.expires_at LIMIT $1
     ON CONFLICT DO NOTHING`,
    [LIMIT],
  );
}

/** Of the workers `w` that may be found unhealthy, why they are; NULL: they are not. Silence counts only while it could be heard. */
const WHY = `
  CASE
    WHEN ${failuresOf('w.worker_id', 'f.at > w.status_changed_at')} >= ${MOST_FAILURES} THEN 'leases_lost'
    WHEN EXISTS (SELECT 1 FROM fleet_watch f WHERE f.seen_at > clock_timestamp() - $1::float8 * interval '1 millisecond'
          AND greatest(f.since, w.last_heartbeat_at, w.status_changed_at) < clock_timestamp() - $2::float8 * interval '1 millisecond')
      THEN 'heartbeat_missed'
  END`;
const JUDGED = "w.status IN ('active', 'draining')";

async function findUnhealthy(db: Database, { unhealthyAfterMs }: FleetSettings): Promise<number> {
  const clocks = [WATCH_GAP_MS, unhealthyAfterMs];
  const suspected = await db.query<{ worker_id: string }>(
    `SELECT worker_id FROM (SELECT w.worker_id, ${WHY} AS why FROM workers w WHERE ${JUDGED}) judged
     WHERE why IS NOT NULL LIMIT $3`,
    [...clocks, LIMIT],
  );
  let moved = 0;
  for (const { worker_id: workerId } of suspected) {
    // Judged again under its lock: it may have been heard of, or moved, in between.
    moved += await db.transaction(async (tx) => {
      const locked = await tx.query(
        `SELECT 1 FROM workers w WHERE w.worker_id = $1 AND ${JUDGED} FOR UPDATE SKIP LOCKED`,
        [workerId],
      );
      if (locked.length === 0) return 0;
      const [judged] = await tx.query<{ why: string | null }>(
        `SELECT ${WHY} AS why FROM workers w WHERE w.worker_id = $3`,
        [...clocks, workerId],
      );
      if (judged?.why == null) return 0;
      await orderWorker(tx, workerId, 'find_unhealthy', { actor: 'sweep', reason: judged.why });
      return 1;
    });
  }
  return moved;
}

async function noteExpiredCredentials(db: Queryable): Promise<number> {
  const rows = await db.query(
    `WITH due AS (
       SELECT credential_id FROM worker_credentials
       WHERE revoked_at IS NULL AND expiry_noted_at IS NULL AND expires_at <= clock_timestamp()
       ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED
     ), noted AS (
       UPDATE worker_credentials c SET expiry_noted_at = clock_timestamp() FROM due
       WHERE c.credential_id = due.credential_id RETURNING c.credential_id, c.worker_id
     )
     INSERT INTO audit (tenant_id, type, actor, detail)
     SELECT w.tenant_id, 'worker.credential_expired', 'sweep', jsonb_build_object(
       'worker_id', w.worker_id, 'pool_id', w.pool_id, 'credential_id', noted.credential_id)
     FROM noted JOIN workers w USING (worker_id) RETURNING 1`,
    [LIMIT],
  );
  return rows.length;
}
