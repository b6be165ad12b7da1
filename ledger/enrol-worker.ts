import { Problem } from '../contracts/problems';
import type { Secret } from '../contracts/secret';
import type { WorkerScope, WorkerState } from '../contracts/terminology';
import { formatBearer, newBearerId, randomSecret, secretHash } from '../domain/secret';
import type { Database } from './database';

export interface Enrolment {
  workerId: string;
  poolId: string;
  displayName?: string;
  /** Open deliveries this worker may have at once. Default 1: OpenCrow runs one at a time and its inbox cannot be recalled. */
  maxOpenDeliveries?: number;
  /** Life of the credential in days. Default 90. */
  ttlDays?: number;
  actor: string;
}

const DEFAULT_SCOPES: WorkerScope[] = ['heartbeat', 'work.claim', 'work.renew', 'work.write'];

/**
 * Enrols a worker in a pool (which is made when it does not exist) and issues its credential, shown this once. A worker that
 * is already enrolled in that pool gets a further credential. Problems: `worker.wrong_pool`, `worker.revoked`, `pool.not_active`.
 */
export async function enrolWorker(
  db: Database,
  enrolment: Enrolment,
): Promise<{ credentialId: string; plaintext: Secret }> {
  const credentialId = newBearerId();
  const secret = randomSecret();
  await db.transaction(async (tx) => {
    await tx.query(
      'INSERT INTO pools (pool_id, name, auto_activate, auto_recover) VALUES ($1, $1, true, true) ON CONFLICT DO NOTHING',
      [enrolment.poolId],
    );
    const [pool] = await tx.query<{ status: string }>('SELECT status FROM pools WHERE pool_id = $1', [
      enrolment.poolId,
    ]);
    if (pool?.status !== 'active') throw new Problem('pool.not_active', `Pool ${enrolment.poolId} is ${pool?.status}.`);
    await tx.query(
      `INSERT INTO workers (worker_id, pool_id, display_name, status, max_open_deliveries)
       VALUES ($1, $2, $3, 'active', $4) ON CONFLICT (worker_id) DO NOTHING`,
      [
        enrolment.workerId,
        enrolment.poolId,
        enrolment.displayName ?? enrolment.workerId,
        enrolment.maxOpenDeliveries ?? 1,
      ],
    );
    const [worker] = await tx.query<{ pool_id: string; status: WorkerState }>(
      'SELECT pool_id, status FROM workers WHERE worker_id = $1 FOR UPDATE',
      [enrolment.workerId],
    );
    refuseUnlessUsable(worker!, enrolment);
    if (enrolment.maxOpenDeliveries !== undefined) {
      await tx.query('UPDATE workers SET max_open_deliveries = $2 WHERE worker_id = $1', [
        enrolment.workerId,
        enrolment.maxOpenDeliveries,
      ]);
    }
    await tx.query(
      `WITH issued AS (
         INSERT INTO worker_credentials (credential_id, worker_id, token_hash, scopes, expires_at)
         VALUES ($1::text, $2::text, $3, $4, clock_timestamp() + $5::float8 * interval '1 day')
       )
       INSERT INTO audit (type, actor, detail)
       VALUES ('worker.credential_issued', $6, jsonb_build_object('worker_id', $2::text, 'credential_id', $1::text))`,
      [credentialId, enrolment.workerId, secretHash(secret), DEFAULT_SCOPES, enrolment.ttlDays ?? 90, enrolment.actor],
    );
  });
  return { credentialId, plaintext: formatBearer('oww', credentialId, secret) };
}

function refuseUnlessUsable(worker: { pool_id: string; status: WorkerState }, { workerId, poolId }: Enrolment): void {
  if (worker.pool_id !== poolId) {
    throw new Problem('worker.wrong_pool', `Worker ${workerId} belongs to pool ${worker.pool_id}.`);
  }
  if (worker.status === 'revoked' || worker.status === 'retired') {
    throw new Problem(`worker.${worker.status}`, `Worker ${workerId} is ${worker.status}; enrol another id.`);
  }
}
