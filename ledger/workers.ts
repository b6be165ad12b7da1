import type { WorkerScope, WorkerState } from '../contracts/terminology';
import { matchesHash, parseBearer } from '../domain/secret';
import type { Queryable } from './database';

/** The principal behind a worker credential. */
export interface WorkerPrincipal {
  workerId: string;
  poolId: string;
  credentialId: string;
  status: WorkerState;
  maxOpenDeliveries: number;
  scopes: WorkerScope[];
}

/** Compared with where there is no credential, so that a known id takes no longer than an unknown one. */
const NO_HASH = Buffer.alloc(32);
/** How exact `last_used_at` is: a credential that is used all the time costs one write in this time. */
const USE_NOTED_EVERY_MS = 60_000;

/**
 * Who a worker credential speaks for; null when it is unknown, revoked or expired, or its worker is retired or revoked, and nobody
 * can tell which.
 */
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
    use_noted: boolean;
  }>(
    `SELECT w.worker_id, w.pool_id, w.status, w.max_open_deliveries, c.scopes, c.token_hash,
       coalesce(c.last_used_at > clock_timestamp() - $2::float8 * interval '1 millisecond', false) AS use_noted,
       c.revoked_at IS NULL AND c.expires_at > clock_timestamp() AND w.status NOT IN ('retired', 'revoked') AS live
     FROM worker_credentials c JOIN workers w USING (worker_id) WHERE c.credential_id = $1`,
    [parsed.id, USE_NOTED_EVERY_MS],
  );
  const matches = matchesHash(parsed.secret, row?.token_hash ?? NO_HASH);
  if (!row || !matches || !row.live) return null;
  if (!row.use_noted) await noteUse(db, parsed.id);
  return {
    workerId: row.worker_id,
    poolId: row.pool_id,
    credentialId: parsed.id,
    status: row.status,
    maxOpenDeliveries: row.max_open_deliveries,
    scopes: row.scopes,
  };
}

const noteUse = (db: Queryable, credentialId: string): Promise<unknown> =>
  db.query(
    `UPDATE worker_credentials SET last_used_at = clock_timestamp() WHERE credential_id = $1
       AND (last_used_at IS NULL OR last_used_at <= clock_timestamp() - $2::float8 * interval '1 millisecond')`,
    [credentialId, USE_NOTED_EVERY_MS],
  );

/** Days until a credential expires; negative once it has, or when there is none. */
export async function credentialDaysLeft(db: Queryable, credentialId: string): Promise<number> {
  const [row] = await db.query<{ days: number }>(
    `SELECT (extract(epoch FROM expires_at - clock_timestamp()) / 86400)::float8 AS days
     FROM worker_credentials WHERE credential_id = $1 AND revoked_at IS NULL`,
    [credentialId],
  );
  return row?.days ?? -1;
}
