import type { NewWorker, WorkerRecord } from '../contracts/managed-workers';
import { Problem } from '../contracts/problems';
import { newBearerId } from '../domain/secret';
import { within, type Database, type Queryable } from './database';
import { lockManagedPool, type AdminContext } from './pools';
import { getWorker } from './worker-list';

/** How long a caller should wait for a place among a pool's workers. */
const FULL_RETRY_MS = 60_000;

/**
 * Registers a worker as `pending`. Registrations of a pool wait for each other, so that no more than `max_workers` pass. Problems:
 * `not_found` (no such pool), `pool.not_active`, `worker.exists` (whoever's it is; nothing is told of it),
 * `capacity.pool_workers` (429, with `limit` and `used`), `auth.scope_required`.
 */
export async function registerWorker(
  db: Database | Queryable,
  wish: NewWorker,
  context: AdminContext,
): Promise<WorkerRecord> {
  const workerId = wish.worker_id ?? `mworker_${newBearerId()}`;
  return within(db, async (tx) => {
    if (!(await addWorker(tx, { ...wish, worker_id: workerId }, context))) {
      throw new Problem('worker.exists', 'There is a worker with this id.', {
        errors: [{ pointer: '/worker_id', detail: 'is taken' }],
      });
    }
    return getWorker(tx, workerId);
  });
}

/** {@link registerWorker} for an id that may be taken: false then, and nothing is changed. */
export async function addWorker(
  tx: Queryable,
  worker: NewWorker & { worker_id: string },
  { actor, owner }: AdminContext,
): Promise<boolean> {
  const pool = await lockManagedPool(tx, worker.pool_id, owner);
  if (pool.status !== 'active') {
    throw new Problem('pool.not_active', `Pool ${worker.pool_id} is ${pool.status}.`, {
      extra: { status: pool.status },
    });
  }
  const added = await tx.query(
    `WITH added AS (
       INSERT INTO workers (worker_id, pool_id, tenant_id, display_name, max_open_deliveries, version, region, capabilities)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (worker_id) DO NOTHING RETURNING *
     )
     INSERT INTO audit (tenant_id, type, actor, detail)
     SELECT tenant_id, 'worker.registered', $9,
       jsonb_build_object('worker_id', worker_id, 'pool_id', pool_id, 'status', status) FROM added RETURNING 1`,
    [
      worker.worker_id,
      worker.pool_id,
      pool.tenant_id,
      worker.display_name,
      worker.max_open_deliveries ?? 1,
      worker.version ?? null,
      worker.region ?? null,
      JSON.stringify(worker.capabilities ?? {}),
      actor,
    ],
  );
  if (added.length > 0) await refuseAbove(tx, worker.pool_id, pool.max_workers ?? 0);
  return added.length > 0;
}

async function refuseAbove(tx: Queryable, poolId: string, limit: number): Promise<void> {
  if (limit === 0) return;
  const [counted] = await tx.query<{ workers: number }>(
    "SELECT count(*)::int AS workers FROM workers WHERE pool_id = $1 AND status NOT IN ('retired', 'revoked')",
    [poolId],
  );
  const used = counted!.workers - 1;
  if (used < limit) return;
  throw new Problem('capacity.pool_workers', `Pool ${poolId} has ${used} workers, as many as it may have.`, {
    retryAfterMs: FULL_RETRY_MS,
    extra: { limit, used },
  });
}
