import { createHash } from 'node:crypto';
import { Problem } from '../contracts/problems';
import type { Database, Queryable } from './database';

/** A request that names itself, so that it can be repeated. */
export interface KeyedRequest {
  tenantId: string;
  /** The route as it is declared, e.g. `POST /api/workloads/{workload_id}/cancel`. */
  route: string;
  /** The caller's `Idempotency-Key`. */
  key: string;
  /** What the request asks for, target included. A key stands for one such text for ever. */
  fingerprint: string;
}

/** An answer that can be given again. */
export interface KeyedAnswer {
  status: number;
  /** JSON text. */
  answer: string;
}

interface KeyRow {
  body_hash: Buffer;
  status: number | null;
  answer: string | null;
}

/**
 * Does `work` once per key: key, effect and answer are one transaction. A repeat gets the stored answer; it waits while the
 * first one is under way, and a first one that failed or died left nothing, so the repeat does the work. The key with another
 * request is the problem `idempotency.conflict`. `work` must have no effect but its statements.
 */
export async function onceForKey(
  db: Database,
  request: KeyedRequest,
  work: (tx: Queryable) => Promise<KeyedAnswer>,
): Promise<KeyedAnswer & { replayed: boolean }> {
  const hash = createHash('sha256').update(request.fingerprint).digest();
  const identity = [request.tenantId, request.route, request.key];
  return db.transaction(async (tx) => {
    const taken = await tx.query(
      `INSERT INTO idempotency_keys (tenant_id, route, key, body_hash) VALUES ($1, $2, $3, $4)
       ON CONFLICT DO NOTHING RETURNING 1`,
      [...identity, hash],
    );
    if (taken.length === 0) return { ...(await storedAnswer(tx, identity, hash)), replayed: true };
    const done = await work(tx);
    await tx.query(
      'UPDATE idempotency_keys SET status = $4, answer = $5 WHERE tenant_id = $1 AND route = $2 AND key = $3',
      [...identity, done.status, done.answer],
    );
    return { ...done, replayed: false };
  });
}

async function storedAnswer(tx: Queryable, identity: readonly string[], hash: Buffer): Promise<KeyedAnswer> {
  const [row] = await tx.query<KeyRow>(
    'SELECT body_hash, status, answer FROM idempotency_keys WHERE tenant_id = $1 AND route = $2 AND key = $3',
    identity,
  );
  if (row && !row.body_hash.equals(hash)) {
    throw new Problem('idempotency.conflict', 'This Idempotency-Key was used for another request.', {
      errors: [{ pointer: '/headers/Idempotency-Key', detail: 'belongs to another request' }],
    });
  }
  if (!row || row.status === null || row.answer === null) {
    throw new Problem('idempotency.conflict', 'The request with this Idempotency-Key is not finished. Repeat it.');
  }
  return { status: row.status, answer: row.answer };
}
