import type { WorkerState } from '../contracts/terminology';
import type { Queryable } from './database';

/** A unit of work that a worker holds: under a live lease, by an open delivery of OpenCrow, or both; as heartbeats count it. */
export interface HeldWork {
  worker_id: string;
  work_id: string;
  /** Of the live lease; null: there is none, only its delivery is still open. */
  epoch: number | null;
  lease_until: Date | null;
  /** Null before intent. */
  delivery: number | null;
  /** Until when the delivery keeps a slot of its worker, unless it ends before; null: it keeps none. */
  slot_until: Date | null;
}

/** Units listed for one question, at most. */
const MAX_LISTED = 5000;

/** What these workers hold, by worker and unit. */
export async function heldWork(db: Queryable, workerIds: readonly string[]): Promise<HeldWork[]> {
  const rows = await db.query<Omit<HeldWork, 'epoch'> & { epoch: string | null }>(
    `WITH leased AS (
       SELECT worker_id, work_id, epoch, expires_at, delivery FROM leases
       WHERE worker_id = ANY ($1) AND closed_at IS NULL AND expires_at > clock_timestamp()
     ), open AS (
       SELECT worker_id, workload_id AS work_id, number AS delivery, slot_until FROM deliveries
       WHERE worker_id = ANY ($1) AND executor = 'opencrow' AND slot_until > clock_timestamp()
     )
     SELECT worker_id, work_id, l.epoch, l.expires_at AS lease_until, delivery, o.slot_until
     FROM leased l FULL JOIN open o USING (worker_id, work_id, delivery)
     ORDER BY worker_id, work_id, delivery LIMIT $2`,
    [workerIds, MAX_LISTED],
  );
  return rows.map((row) => ({ ...row, epoch: row.epoch === null ? null : Number(row.epoch) }));
}

/** The states of these workers, in any order. */
export const workerStates = (
  db: Queryable,
  workerIds: readonly string[],
): Promise<{ worker_id: string; status: WorkerState }[]> =>
  db.query('SELECT worker_id, status FROM workers WHERE worker_id = ANY ($1)', [workerIds]);
