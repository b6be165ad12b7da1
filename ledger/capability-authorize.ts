import { createHash } from 'node:crypto';
import type { AuthorizeRequest, CapabilityRefusal } from '../contracts/capabilities';
import { parseBearer, secretHash } from '../domain/secret';
import type { Queryable } from './database';

/** Refusals and repeats of one delivery that leave an audit row each; what is beyond is counted only. */
const REFUSALS_RECORDED = 1000;

/** Attempts with tokens that are none leave at most this many audit rows a caller and minute. */
export const STRANGERS_A_MINUTE = 100;

/** Who asks. */
export interface Asking {
  tenantId: string;
  /** For the audit, e.g. `token:<id>`. */
  actor: string;
}

/** What an attempt came to. `idempotency_conflict`: its key was used for another request. */
export type Authorization =
  | { allowed: false; reason: CapabilityRefusal | 'idempotency_conflict' }
  | {
      allowed: true;
      workload_id: string;
      delivery: number;
      use: number;
      remaining: number;
      expires_at: string;
      /** The same key asked before: counted then, answered alike now. */
      repeated?: true;
    };

/**
 * Judges one use of a capability, counts it, and records the attempt, in one round trip. Tokens are found by the hash of the
 * whole: one that is forged, cut or another tenant's takes the same way as one that never was.
 */
export async function authorizeCapability(
  db: Queryable,
  asking: Asking,
  { token, hook, kind, operation, resource, idempotency_key }: AuthorizeRequest,
): Promise<Authorization> {
  const bearer = parseBearer(token);
  const [row] = await db.query<{ answer: Authorization }>(
    'SELECT authorize_capability($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) AS answer',
    [
      secretHash(token),
      bearer?.prefix === 'owc' ? bearer.id : null,
      asking.tenantId,
      asking.actor,
      hook,
      kind,
      operation,
      resource,
      idempotency_key === undefined ? null : secretHash(idempotency_key),
      createHash('sha256')
        .update(JSON.stringify([hook, kind, operation, resource]))
        .digest(),
      REFUSALS_RECORDED,
      STRANGERS_A_MINUTE,
    ],
  );
  return row!.answer;
}

/** Deletes keys of uses after `days`, but not before 8: no capability lives longer than 7. Returns how many. */
export async function forgetUseKeys(db: Queryable, days: number, limit: number): Promise<number> {
  const rows = await db.query(
    `DELETE FROM capability_calls WHERE ctid = ANY(ARRAY(
       SELECT ctid FROM capability_calls
       WHERE created_at < clock_timestamp() - greatest($1::float8, 8) * interval '1 day' LIMIT $2)) RETURNING 1`,
    [days, limit],
  );
  return rows.length;
}
