import { Problem } from '../contracts/problems';
import type { ExecutorKind, WorkerState } from '../contracts/terminology';
import type { Queryable } from './database';

export interface HeartbeatFacts {
  version?: string | undefined;
  currentLoad?: number | undefined;
  lastErrorCode?: string | undefined;
  /** What it offers to do; undefined: it does not say, which means OpenCrow. */
  executors?: readonly ExecutorKind[] | undefined;
}

/** Notes that a worker lives and tells it the state it should be in and what it may hold at once. */
export async function heartbeat(
  db: Queryable,
  workerId: string,
  facts: HeartbeatFacts,
): Promise<{ status: WorkerState; max_open_deliveries: number }> {
  const [row] = await db.query<{ status: WorkerState; max_open_deliveries: number }>(
    `UPDATE workers SET last_heartbeat_at = clock_timestamp(), version = coalesce($2, version), current_load = $3,
       last_error_code = $4, executors = $5 WHERE worker_id = $1 RETURNING status, max_open_deliveries`,
    [workerId, facts.version ?? null, facts.currentLoad ?? 0, facts.lastErrorCode ?? null, facts.executors ?? null],
  );
  if (!row) throw new Problem('not_found', 'No such worker.');
  return row;
}
