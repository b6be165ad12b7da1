import { Problem } from '../contracts/problems';
import type { Secret } from '../contracts/secret';
import type { PoolState, WorkerState } from '../contracts/terminology';
import type { Database, Queryable } from './database';
import { addWorker } from './register-worker';
import { issueCredential } from './worker-credentials';
import { orderWorker } from './worker-orders';

export interface Enrolment {
  workerId: string;
  poolId: string;
  displayName?: string;
  /** Open deliveries this worker may have at once. Default 1: OpenCrow runs one at a time and its inbox cannot be recalled. */
  maxOpenDeliveries?: number;
  actor: string;
}

/**
 * Enrols a worker in a pool (which is made when it does not exist) and issues its credential for 90 days, shown this once. It is active from
 * then on. A worker that is already enrolled in that pool gets a further credential. Problems: `worker.wrong_pool`,
 * `worker.retired`, `worker.revoked`, `pool.not_active`, `capacity.pool_workers`.
 */
export async function enrolWorker(
  db: Database,
  { workerId, poolId, displayName, maxOpenDeliveries, actor }: Enrolment,
): Promise<{ credentialId: string; plaintext: Secret }> {
  const { credential, plaintext } = await db.transaction(async (tx) => {
    await makePool(tx, poolId, actor);
    const wish = {
      worker_id: workerId,
      pool_id: poolId,
      display_name: displayName ?? workerId,
      max_open_deliveries: maxOpenDeliveries,
    };
    // The lock of the pool is not taken before one of a worker that others may hold.
    const isNew = (await workerOf(tx, workerId)) === undefined && (await addWorker(tx, wish, { actor }));
    if (isNew) await orderWorker(tx, workerId, 'activate', { actor, reason: 'enrolled' });
    else refuseUnlessUsable((await workerOf(tx, workerId))!, workerId, poolId);
    if (maxOpenDeliveries !== undefined && !isNew) {
      await tx.query('UPDATE workers SET max_open_deliveries = $2 WHERE worker_id = $1', [workerId, maxOpenDeliveries]);
    }
    return issueCredential(tx, workerId, {}, { actor });
  });
  return { credentialId: credential.credential_id, plaintext };
}

const makePool = (tx: Queryable, poolId: string, actor: string): Promise<unknown> =>
  tx.query(
    `WITH made AS (
       INSERT INTO pools (pool_id, name, auto_activate, auto_recover) VALUES ($1, $1, true, true)
       ON CONFLICT DO NOTHING RETURNING *
     )
     INSERT INTO audit (type, actor, detail)
     SELECT 'pool.created', $2, jsonb_build_object('pool_id', pool_id, 'mode', mode, 'status', status) FROM made`,
    [poolId, actor],
  );

interface Enrolled {
  pool_id: string;
  status: WorkerState;
  pool_status: PoolState;
}

async function workerOf(tx: Queryable, workerId: string): Promise<Enrolled | undefined> {
  const [worker] = await tx.query<Enrolled>(
    `SELECT w.pool_id, w.status, p.status AS pool_status FROM workers w JOIN pools p USING (pool_id) WHERE worker_id = $1`,
    [workerId],
  );
  return worker;
}

function refuseUnlessUsable(worker: Enrolled, workerId: string, poolId: string): void {
  if (worker.pool_id !== poolId) {
    throw new Problem('worker.wrong_pool', `Worker ${workerId} belongs to pool ${worker.pool_id}.`);
  }
  if (worker.pool_status !== 'active') {
    throw new Problem('pool.not_active', `Pool ${poolId} is ${worker.pool_status}.`);
  }
  if (worker.status === 'revoked' || worker.status === 'retired') {
    throw new Problem(`worker.${worker.status}`, `Worker ${workerId} is ${worker.status}; enrol another id.`);
  }
}
