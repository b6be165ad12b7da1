import type { CredentialRecord } from '../contracts/managed-workers';
import { Problem } from '../contracts/problems';
import type { Secret } from '../contracts/secret';
import type { WorkerScope } from '../contracts/terminology';
import { formatBearer, newBearerId, randomSecret, secretHash } from '../domain/secret';
import { within, type Database, type Queryable } from './database';
import { withIsoTimes, type RowOf } from './iso-times';
import type { AdminContext } from './pools';
import { lockWorkerRow } from './worker-orders';

/** What a worker needs to work; `secret.reveal` is asked for. */
const DEFAULT_SCOPES: readonly WorkerScope[] = ['heartbeat', 'work.claim', 'work.renew', 'work.write'];
const DAY_MS = 86_400_000;
const DEFAULT_TTL_DAYS = 90;
const MAX_TTL_DAYS = 366;
const DEFAULT_OVERLAP_MS = 600_000;
/** Credentials of a worker that lists show, the newest first. */
const MAX_LISTED = 500;

/** A credential with its secret, which is given this once. */
export interface IssuedCredential {
  credential: CredentialRecord;
  plaintext: Secret;
}

type Times = 'created_at' | 'expires_at' | 'revoked_at' | 'last_used_at';
type CredentialRow = RowOf<CredentialRecord, Times>;

const SELECT = `SELECT c.credential_id, c.worker_id, w.pool_id, c.scopes, c.last4, c.created_at, c.expires_at, c.revoked_at,
  c.last_used_at, c.rotated_from AS rotated_from_credential_id
FROM worker_credentials c JOIN workers w USING (worker_id)`;

const shown = (row: CredentialRow): CredentialRecord => withIsoTimes<CredentialRecord, Times>(row);

/** A worker's credentials, the newest first; those of another tenant's worker are `not_found`. */
export async function listCredentials(
  db: Queryable,
  workerId: string,
  owner: string | null = null,
): Promise<CredentialRecord[]> {
  const [known] = await db.query(
    'SELECT 1 FROM workers WHERE worker_id = $1 AND ($2::text IS NULL OR tenant_id = $2)',
    [workerId, owner],
  );
  if (!known) throw new Problem('not_found', 'No such worker.');
  const rows = await db.query<CredentialRow>(
    `${SELECT} WHERE c.worker_id = $1 ORDER BY c.created_at DESC, c.credential_id LIMIT $2`,
    [workerId, MAX_LISTED],
  );
  return rows.map(shown);
}

/** What a new credential is to be. */
export interface CredentialWish {
  /** Default: all but `secret.reveal`. */
  scopes?: readonly WorkerScope[] | undefined;
  /** In the future, at most 366 days ahead by the ledger's clock. Default: in 90 days. */
  expiresAt?: string | undefined;
}

/**
 * Issues a credential; the ledger keeps the hash of its secret. Problems: `not_found`, `credential.not_live` for a worker that is
 * retired or revoked, `request.invalid` for a time that is past or too far ahead.
 */
export async function issueCredential(
  db: Database | Queryable,
  workerId: string,
  wish: CredentialWish,
  { actor, owner }: AdminContext,
): Promise<IssuedCredential> {
  return within(db, async (tx) => {
    const { now } = await lockLiveWorker(tx, workerId, owner);
    const expiresAt = expiryOf(wish.expiresAt, now);
    const issued = await insert(tx, workerId, { scopes: wish.scopes ?? DEFAULT_SCOPES, expiresAt, rotatedFrom: null });
    await note(tx, 'issued', actor, issued.credential, { scopes: issued.credential.scopes });
    return issued;
  });
}

/** How a credential is to be replaced. */
export interface Rotation {
  /** Of the new one, as in {@link CredentialWish}. */
  expiresAt?: string | undefined;
  /** Milliseconds for which the old one stays good; 0: not at all. Default 10 minutes. */
  overlapMs?: number | undefined;
}

/**
 * Issues a credential with the same scopes in the place of one, which stays good for the overlap at most, in one transaction: a
 * failure leaves the old one as it was. Problems: `not_found`, `credential.not_live` (it is revoked or expired, or its worker is
 * retired or revoked), `request.invalid`.
 */
export async function rotateCredential(
  db: Database | Queryable,
  workerId: string,
  credentialId: string,
  { expiresAt, overlapMs = DEFAULT_OVERLAP_MS }: Rotation,
  { actor, owner }: AdminContext,
): Promise<IssuedCredential> {
  return within(db, async (tx) => {
    const { now } = await lockLiveWorker(tx, workerId, owner);
    const [old] = await tx.query<{ scopes: WorkerScope[]; live: boolean }>(
      `SELECT scopes, revoked_at IS NULL AND expires_at > clock_timestamp() AS live
       FROM worker_credentials WHERE credential_id = $1 AND worker_id = $2 FOR UPDATE`,
      [credentialId, workerId],
    );
    if (!old) throw noSuchCredential();
    if (!old.live) throw new Problem('credential.not_live', 'The credential is revoked or expired: issue another one.');
    const wish = { scopes: old.scopes, expiresAt: expiryOf(expiresAt, now), rotatedFrom: credentialId };
    const issued = await insert(tx, workerId, wish);
    const [ends] = await tx.query<{ expires_at: Date }>(
      `UPDATE worker_credentials SET expires_at = least(expires_at, clock_timestamp() + $2::float8 * interval '1 millisecond')
       WHERE credential_id = $1 RETURNING expires_at`,
      [credentialId, overlapMs],
    );
    const until = ends!.expires_at.toISOString();
    await note(tx, 'rotated', actor, issued.credential, { rotated_from: credentialId, old_expires_at: until });
    return issued;
  });
}

/** Revokes a credential from the next request on. Again changes nothing: the first time stays. `not_found` if the worker has none such. */
export async function revokeCredential(
  db: Database | Queryable,
  workerId: string,
  credentialId: string,
  { actor, owner }: AdminContext,
): Promise<CredentialRecord> {
  return within(db, async (tx) => {
    await lockWorkerRow(tx, workerId, owner);
    const revoked = await tx.query(
      `UPDATE worker_credentials SET revoked_at = clock_timestamp()
       WHERE credential_id = $1 AND worker_id = $2 AND revoked_at IS NULL RETURNING 1`,
      [credentialId, workerId],
    );
    const [row] = await tx.query<CredentialRow>(`${SELECT} WHERE c.credential_id = $1 AND c.worker_id = $2`, [
      credentialId,
      workerId,
    ]);
    if (!row) throw noSuchCredential();
    if (revoked.length > 0) await note(tx, 'revoked', actor, shown(row), {});
    return shown(row);
  });
}

const noSuchCredential = (): Problem => new Problem('not_found', 'No such credential.');

async function lockLiveWorker(tx: Queryable, workerId: string, owner: string | null | undefined) {
  const worker = await lockWorkerRow(tx, workerId, owner);
  if (worker.status !== 'retired' && worker.status !== 'revoked') return worker;
  throw new Problem('credential.not_live', `The worker is ${worker.status}: it gets no credentials.`, {
    extra: { state: worker.status },
  });
}

function expiryOf(wished: string | undefined, now: Date): Date {
  const at = wished === undefined ? new Date(now.getTime() + DEFAULT_TTL_DAYS * DAY_MS) : new Date(wished);
  const days = (at.getTime() - now.getTime()) / DAY_MS;
  if (days > 0 && days <= MAX_TTL_DAYS) return at;
  const detail = days > 0 ? `must be at most ${MAX_TTL_DAYS} days ahead` : 'must be in the future';
  throw new Problem('request.invalid', 'The request breaks a rule.', { errors: [{ pointer: '/expires_at', detail }] });
}

async function insert(
  tx: Queryable,
  workerId: string,
  wish: { scopes: readonly WorkerScope[]; expiresAt: Date; rotatedFrom: string | null },
): Promise<IssuedCredential> {
  const credentialId = newBearerId();
  const secret = randomSecret();
  await tx.query(
    `INSERT INTO worker_credentials (credential_id, worker_id, token_hash, scopes, expires_at, last4, rotated_from)
     VALUES ($1, $2, $3, $4, $5, $6, $7)`,
    [
      credentialId,
      workerId,
      secretHash(secret),
      [...new Set(wish.scopes)],
      wish.expiresAt,
      secret.slice(-4),
      wish.rotatedFrom,
    ],
  );
  const [row] = await tx.query<CredentialRow>(`${SELECT} WHERE c.credential_id = $1`, [credentialId]);
  return { credential: shown(row!), plaintext: formatBearer('oww', credentialId, secret) };
}

const note = (
  tx: Queryable,
  what: 'issued' | 'rotated' | 'revoked',
  actor: string,
  { worker_id, pool_id, credential_id, expires_at }: CredentialRecord,
  more: Record<string, unknown>,
): Promise<unknown> =>
  tx.query(
    'INSERT INTO audit (tenant_id, type, actor, detail) SELECT tenant_id, $2, $3, $4::jsonb FROM workers WHERE worker_id = $1',
    [
      worker_id,
      `worker.credential_${what}`,
      actor,
      JSON.stringify({ worker_id, pool_id, credential_id, expires_at, ...more }),
    ],
  );
