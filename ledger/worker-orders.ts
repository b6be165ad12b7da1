import { Problem } from '../contracts/problems';
import type { WorkerState } from '../contracts/terminology';
import { moveWorker, type WorkerMove } from '../domain/worker-moves';
import type { Queryable } from './database';

/** Who moves a worker, and why. */
export interface WorkerOrderContext {
  /** E.g. `token:<id>`, `policy`, `sweep`. */
  actor: string;
  /** A code, or an operator's words; kept in the audit and in the worker's row. Default: none. */
  reason?: string | undefined;
  /** Retires a worker although it holds live leases, which are then left to run out. Default false. */
  force?: boolean | undefined;
  /** Only workers of this tenant's pools; another one's is `not_found`. Null or absent: any worker. */
  owner?: string | null | undefined;
}

/** What a move came to. */
export interface WorkerMoved {
  status: WorkerState;
  previous: WorkerState;
  /** False: it was there already, and nothing was written. */
  changed: boolean;
}

/**
 * Moves a worker under its row's lock: the only place that changes a worker's state. Problems: `not_found`; `worker.state_conflict`
 * (409, with `state`) for a move that the state does not allow; `worker.holds_leases` (409) for retiring one with live leases.
 */
export async function orderWorker(
  tx: Queryable,
  workerId: string,
  move: WorkerMove,
  { actor, reason, force = false, owner }: WorkerOrderContext,
): Promise<WorkerMoved> {
  const worker = await lockWorkerRow(tx, workerId, owner);
  const moved = moveWorker(worker.status, move);
  if ('forbidden' in moved) {
    throw new Problem('worker.state_conflict', `The worker cannot be moved by ${move}: ${moved.forbidden}.`, {
      extra: { state: worker.status },
    });
  }
  if (!moved.changed) return { status: moved.to, previous: worker.status, changed: false };
  if (moved.to === 'retired' && !force) await refuseWhileLeased(tx, workerId);
  await tx.query(
    `WITH moved AS (
       UPDATE workers SET status = $2::text, status_reason = $3::text,
         unhealthy_from = CASE WHEN $2::text = 'unhealthy' THEN $4::text END, status_changed_at = clock_timestamp(),
         updated_at = clock_timestamp(), revoked_at = CASE WHEN $2::text = 'revoked' THEN clock_timestamp() ELSE revoked_at END
       WHERE worker_id = $1 AND status = $4::text RETURNING worker_id, pool_id, tenant_id
     )
     INSERT INTO audit (tenant_id, type, actor, detail)
     SELECT tenant_id, 'worker.' || $2::text, $5, jsonb_strip_nulls(jsonb_build_object('worker_id', worker_id,
       'pool_id', pool_id, 'status', $2::text, 'previous', $4::text, 'reason', $3::text)) FROM moved`,
    [workerId, moved.to, reason ?? null, worker.status, actor],
  );
  return { status: moved.to, previous: worker.status, changed: true };
}

/** A worker's row under its lock; `now` is the ledger's clock. Another tenant's worker than `owner`'s is `not_found`. */
export async function lockWorkerRow(
  tx: Queryable,
  workerId: string,
  owner: string | null | undefined,
): Promise<{ status: WorkerState; now: Date }> {
  const [worker] = await tx.query<{ status: WorkerState; now: Date }>(
    `SELECT status, clock_timestamp() AS now FROM workers
     WHERE worker_id = $1 AND ($2::text IS NULL OR tenant_id = $2) FOR UPDATE`,
    [workerId, owner ?? null],
  );
  if (!worker) throw new Problem('not_found', 'No such worker.');
  return worker;
}

async function refuseWhileLeased(tx: Queryable, workerId: string): Promise<void> {
  const [held] = await tx.query<{ leases: number }>(
    `SELECT count(*)::int AS leases FROM leases
     WHERE worker_id = $1 AND closed_at IS NULL AND expires_at > clock_timestamp()`,
    [workerId],
  );
  if (held!.leases === 0) return;
  throw new Problem('worker.holds_leases', `The worker holds ${held!.leases} live leases: drain it, or force it.`, {
    extra: { leases: held!.leases },
  });
}
