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

/** Days until a credential expires; negative once it has, or when there is none. */
export async function credentialDaysLeft(db: Queryable, credentialId: string): Promise<number> {
  const [row] = await db.query<{ days: number }>(
    `SELECT (extract(epoch FROM expires_at - clock_timestamp()) / 86400)::float8 AS days
     FROM worker_credentials WHERE credential_id = $1 AND revoked_at IS NULL`,
    [credentialId],
  );
  return row?.days ?? -1;
}
