import type { HeartbeatRecord, WorkerRecord } from '../contracts/managed-workers';
import { Problem } from '../contracts/problems';
import type { WorkerState } from '../contracts/terminology';
import type { Queryable } from './database';
import { withIsoTimes, type RowOf } from './iso-times';

/** Which workers to list; every field narrows. */
export interface WorkerFilter {
  /** Workers of this tenant's pools. Null or absent: of all. */
  owner?: string | null | undefined;
  workerId?: string | undefined;
  poolId?: string | undefined;
  status?: WorkerState | undefined;
  /** Workers after this one, in the order of the list. */
  after?: { poolId: string; workerId: string } | undefined;
  /** Default: all. */
  limit?: number | undefined;
}

const TIMES = [
  'status_changed_at',
  'last_heartbeat_at',
  'suspect_since',
  'suspect_probe_at',
  'created_at',
  'updated_at',
  'revoked_at',
] as const;
type WorkerRow = RowOf<WorkerRecord, (typeof TIMES)[number]>;

/** Workers by pool and id. */
export async function listWorkers(db: Queryable, filter: WorkerFilter = {}): Promise<WorkerRecord[]> {
  const rows = await db.query<WorkerRow>(
    `SELECT w.worker_id, w.pool_id, w.tenant_id, w.display_name, w.status, w.status_reason, w.max_open_deliveries,
       (SELECT count(*)::int FROM deliveries d WHERE d.worker_id = w.worker_id AND d.slot_until > clock_timestamp()) AS open_deliveries,
       (SELECT count(*)::int FROM leases l
        WHERE l.worker_id = w.worker_id AND l.closed_at IS NULL AND l.expires_at > clock_timestamp()) AS open_leases,
       w.executors, w.version, w.runtime_version, w.protocol_version, w.region, w.capabilities, w.checkpoint_schemas,
       w.event_contracts, w.current_load, w.last_error_code, w.last_error_summary, ${TIMES.map((name) => `w.${name}`).join(', ')}
     FROM workers w
     WHERE ($1::text IS NULL OR tenant_id = $1) AND ($2::text IS NULL OR worker_id = $2)
       AND ($3::text IS NULL OR pool_id = $3) AND ($4::text IS NULL OR status = $4)
       AND ($5::text IS NULL OR (pool_id, worker_id) > ($5, $6::text))
     ORDER BY w.pool_id, w.worker_id LIMIT $7`,
    [
      filter.owner ?? null,
      filter.workerId ?? null,
      filter.poolId ?? null,
      filter.status ?? null,
      filter.after?.poolId ?? null,
      filter.after?.workerId ?? null,
      filter.limit ?? null,
    ],
  );
  return rows.map((row) => withIsoTimes<WorkerRecord, (typeof TIMES)[number]>(row));
}

/** A worker; `not_found` when there is none, or it is not of the owner's pools. */
export async function getWorker(db: Queryable, workerId: string, owner: string | null = null): Promise<WorkerRecord> {
  const [worker] = await listWorkers(db, { workerId, owner });
  if (!worker) throw new Problem('not_found', 'No such worker.');
  return worker;
}

/** The last heartbeat of a worker; none before the first. `not_found` as {@link getWorker}. */
export async function lastHeartbeat(
  db: Queryable,
  workerId: string,
  owner: string | null = null,
): Promise<HeartbeatRecord | null> {
  const worker = await getWorker(db, workerId, owner);
  if (worker.last_heartbeat_at === null) return null;
  const [row] = await db.query<{ sequence: string | null; active_work_ids: string[] }>(
    'SELECT heartbeat_sequence AS sequence, active_work_ids FROM workers WHERE worker_id = $1',
    [workerId],
  );
  return {
    worker_id: worker.worker_id,
    pool_id: worker.pool_id,
    tenant_id: worker.tenant_id,
    version: worker.version,
    runtime_version: worker.runtime_version,
    protocol_version: worker.protocol_version,
    region: worker.region,
    capabilities: worker.capabilities,
    checkpoint_schemas: worker.checkpoint_schemas,
    event_contracts: worker.event_contracts,
    current_load: worker.current_load,
    active_work_ids: row!.active_work_ids,
    last_error_code: worker.last_error_code,
    last_error_summary: worker.last_error_summary,
    sequence: row!.sequence === null ? null : Number(row!.sequence),
    received_at: worker.last_heartbeat_at,
  };
}
