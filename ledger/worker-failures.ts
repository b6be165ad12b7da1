import type { Queryable } from './database';

/**
 * How a worker ended a lease before its work was done:
 * - `lease_ran_out`: before the intent, which costs the unit an attempt
 * - `command_lost`: while its command was under way
 * - `attempt_failed`: it said that it cannot hand the unit over now; counted once for each unit, which may be at fault itself
 */
export type WorkerFailure = 'lease_ran_out' | 'command_lost' | 'attempt_failed';

/** So many failures of a worker within the window make it unhealthy. */
export const MOST_FAILURES = 3;
export const FAILURE_WINDOW = "interval '10 minutes'";
/** What ran out so soon after a break could not be renewed in it. */
const AFTER_BREAK = "interval '30 seconds'";

/**
 * SQL: how many failures `f` of a worker count now, if `also` is true of them. Only those while an api was there before and after: a
 * lease that nobody could renew is no failure of its worker.
 */
export const failuresOf = (workerId: string, also = 'true'): string => `(
  SELECT count(*) FROM fleet_watch watch JOIN worker_failures f ON f.at > watch.since + ${AFTER_BREAK} AND f.at <= watch.seen_at
  WHERE f.worker_id = ${workerId} AND f.at > clock_timestamp() - ${FAILURE_WINDOW} AND ${also})`;

/**
 * Notes that a unit's open lease ended through its worker, in the transaction that says so of the unit and before it closes the
 * lease. Each lease counts once, whoever finds it first. What a unit's own deadline ended is no failure of its worker.
 */
export async function noteWorkerFailure(tx: Queryable, workId: string, why: WorkerFailure): Promise<void> {
  await tx.query(
    `INSERT INTO worker_failures (work_id, epoch, worker_id, why)
     SELECT work_id, epoch, worker_id, $2::text FROM leases l WHERE work_id = $1 AND closed_at IS NULL
       AND ($2::text <> 'attempt_failed' OR NOT EXISTS (SELECT 1 FROM worker_failures f
         WHERE f.worker_id = l.worker_id AND f.work_id = l.work_id AND f.why = $2::text AND f.at > clock_timestamp() - ${FAILURE_WINDOW}))
     ON CONFLICT DO NOTHING`,
    [workId, why],
  );
}
