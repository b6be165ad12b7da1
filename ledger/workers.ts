import { Problem } from '../contracts/problems';
import type { ExecutorKind, WorkerScope, WorkerState } from '../contracts/terminology';
import type { Secret } from '../contracts/secret';
import { formatBearer, matchesHash, newBearerId, parseBearer, randomSecret, secretHash } from '../domain/secret';
import type { Database, Queryable } from './database';

/** The principal behind a worker credential. */
export interface WorkerPrincipal {
  workerId: string;
  poolId: string;
  credentialId: string;
  status: WorkerState;
  maxOpenDeliveries: number;
  scopes: WorkerScope[];
}

/** Who a worker credential speaks for; null when it is unknown, revoked or expired, or its worker is retired or revoked. */
export async function authenticateWorker(db: Queryable, bearer: string): Promise<WorkerPrincipal | null> {
  const parsed = parseBearer(bearer);
  if (parsed?.prefix !== 'oww') return null;
  const [row] = await db.query<{
    worker_id: string;
    pool_id: string;
    status: WorkerState;
    max_open_deliveries: number;
    scopes: WorkerScope[];
    token_hash: Buffer;
    live: boolean;
  }>(
    `SELECT w.worker_id, w.pool_id, w.status, w.max_open_deliveries, c.scopes, c.token_hash,
       c.revoked_at IS NULL AND c.expires_at > clock_timestamp() AND w.status NOT IN ('retired', 'revoked') AS live
     FROM worker_credentials c JOIN workers w USING (worker_id) WHERE c.credential_id = $1`,
    [parsed.id],
  );
  if (!row || !matchesHash(parsed.secret, row.token_hash) || !row.live) return null;
  return {
    workerId: row.worker_id,
    poolId: row.pool_id,
    credentialId: parsed.id,
    status: row.status,
    maxOpenDeliveries: row.max_open_deliveries,
    scopes: row.scopes,
  };
}

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
    await tx.query('INSERT INTO pools (pool_id) VALUES ($1) ON CONFLICT DO NOTHING', [enrolment.poolId]);
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

/** Days until a credential expires; negative once it has, or when there is none. */
export async function credentialDaysLeft(db: Queryable, credentialId: string): Promise<number> {
  const [row] = await db.query<{ days: number }>(
    `SELECT (extract(epoch FROM expires_at - clock_timestamp()) / 86400)::float8 AS days
     FROM worker_credentials WHERE credential_id = $1 AND revoked_at IS NULL`,
    [credentialId],
  );
  return row?.days ?? -1;
}
