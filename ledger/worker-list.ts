import type { ExecutorKind, WorkerState } from '../contracts/terminology';
import type { Queryable } from './database';

export interface WorkerRecord {
  worker_id: string;
  pool_id: string;
  display_name: string;
  status: WorkerState;
  max_open_deliveries: number;
  open_deliveries: number;
  /** What it offers to do; null: it did not say, which means OpenCrow. */
  executors: ExecutorKind[] | null;
  version: string | null;
  last_heartbeat_at: Date | null;
  suspect_since: Date | null;
  suspect_probe_at: Date | null;
}

export async function listWorkers(db: Queryable): Promise<WorkerRecord[]> {
  return db.query<WorkerRecord>(
    `SELECT w.worker_id, w.pool_id, w.display_name, w.status, w.max_open_deliveries, w.executors, w.version,
       w.last_heartbeat_at, w.suspect_since, w.suspect_probe_at,
       (SELECT count(*)::int FROM deliveries d WHERE d.worker_id = w.worker_id AND d.slot_until > clock_timestamp()) AS open_deliveries
     FROM workers w ORDER BY w.pool_id, w.worker_id`,
  );
}
