import type { Secret } from '../contracts/secret';
import type { TokenScope } from '../contracts/terminology';
import {
  formatBearer,
  importedTokenId,
  isImportable,
  matchesHash,
  newBearerId,
  parseBearer,
  randomSecret,
  secretHash,
} from '../domain/secret';
import type { Queryable } from './database';

/** The principal behind an API token. */
export interface TokenPrincipal {
  tokenId: string;
  tenantId: string;
  name: string;
  scopes: TokenScope[];
  /** Null: it never expires. */
  expiresAt: Date | null;
}

/** What to put into a new token. */
export interface NewToken {
  /** Made when it does not exist. */
  tenantId: string;
  /** What people call it; shown in lists. */
  name: string;
  scopes: readonly TokenScope[];
  /** Life in days. Default: it never expires. */
  ttlDays?: number;
  /** Who makes it, for the audit. Default `cli`. */
  actor?: string;
}

/** Makes an API token. The plaintext is given this once; the ledger keeps its SHA-256. */
export async function createToken(db: Queryable, token: NewToken): Promise<{ tokenId: string; plaintext: Secret }> {
  const tokenId = newBearerId();
  const secret = randomSecret();
  await db.query(
    `WITH tenant AS (
       INSERT INTO tenants (tenant_id) VALUES ($2) ON CONFLICT DO NOTHING
     ), token AS (
       INSERT INTO tokens (token_id, tenant_id, name, token_hash, scopes, expires_at)
       VALUES ($1, $2, $3, $4, $5, clock_timestamp() + $6::float8 * interval '1 day')
     )
     INSERT INTO audit (tenant_id, type, actor, detail)
     VALUES ($2, 'token.created', $7, jsonb_build_object('token_id', $1::text, 'name', $3::text, 'scopes', $5::text[]))`,
    [
      tokenId,
      token.tenantId,
      token.name,
      secretHash(secret),
      token.scopes,
      token.ttlDays ?? null,
      token.actor ?? 'cli',
    ],
  );
  return { tokenId, plaintext: formatBearer('owt', tokenId, secret) };
}

/** A token as lists show it. */
export interface TokenRecord {
  token_id: string;
  tenant_id: string;
  name: string;
  scopes: TokenScope[];
  created_at: Date;
  expires_at: Date | null;
  revoked_at: Date | null;
}

/** All tokens, or those of one tenant, oldest first. */
export async function listTokens(db: Queryable, tenantId?: string): Promise<TokenRecord[]> {
  return db.query<TokenRecord>(
    `SELECT token_id, tenant_id, name, scopes, created_at, expires_at, revoked_at FROM tokens
     WHERE $1::text IS NULL OR tenant_id = $1 ORDER BY created_at, token_id`,
    [tenantId ?? null],
  );
}

/** Revokes a token from the next request on. False when there is none, or it was revoked before. */
export async function revokeToken(db: Queryable, tokenId: string, actor = 'cli'): Promise<boolean> {
  const revoked = await db.query(
    `WITH revoked AS (
       UPDATE tokens SET revoked_at = clock_timestamp() WHERE token_id = $1 AND revoked_at IS NULL
       RETURNING tenant_id, token_id
     )
     INSERT INTO audit (tenant_id, type, actor, detail)
     SELECT tenant_id, 'token.revoked', $2, jsonb_build_object('token_id', token_id) FROM revoked RETURNING 1`,
    [tokenId, actor],
  );
  return revoked.length > 0;
}

/** Compared with where there is no token, so that a known id takes no longer than an unknown one. */
const NO_HASH = Buffer.alloc(32);

/** Who a token speaks for; null when it is malformed, unknown, revoked or expired, and nobody can tell which. */
export async function authenticateToken(db: Queryable, bearer: string): Promise<TokenPrincipal | null> {
  const parsed = parseBearer(bearer) ?? (isImportable(bearer) ? { id: importedTokenId(bearer), secret: bearer } : null);
  if (parsed === null || ('prefix' in parsed && parsed.prefix !== 'owt')) return null;
  const [row] = await db.query<TokenRecord & { token_hash: Buffer; live: boolean }>(
    `SELECT tenant_id, name, scopes, expires_at, token_hash,
       revoked_at IS NULL AND (expires_at IS NULL OR expires_at > clock_timestamp()) AS live
     FROM tokens WHERE token_id = $1`,
    [parsed.id],
  );
  const matches = matchesHash(parsed.secret, row?.token_hash ?? NO_HASH);
  if (!row || !matches || !row.live) return null;
  return {
    tokenId: parsed.id,
    tenantId: row.tenant_id,
    name: row.name,
    scopes: row.scopes,
    expiresAt: row.expires_at,
  };
}

/**
 * Takes a token that was made elsewhere (such as the one n8n has already); the ledger keeps its hash. Imported tokens have one name each:
 * another one of this name and tenant is revoked, so that a replaced file takes its old token out of force. Harmless when repeated.
 * False, and nothing changed, when this token was revoked or is another tenant's.
 */
export async function importToken(
  db: Queryable,
  token: Omit<NewToken, 'ttlDays'>,
  bearer: string,
): Promise<{ tokenId: string; inForce: boolean }> {
  const tokenId = importedTokenId(bearer);
  const [row] = await db.query<{ in_force: boolean }>(
    `WITH tenant AS (
       INSERT INTO tenants (tenant_id) VALUES ($2) ON CONFLICT DO NOTHING
     ), imported AS (
       INSERT INTO tokens AS t (token_id, tenant_id, name, token_hash, scopes) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (token_id) DO UPDATE SET name = excluded.name, scopes = excluded.scopes
       WHERE t.tenant_id = excluded.tenant_id AND t.revoked_at IS NULL
         AND (t.name, t.scopes) IS DISTINCT FROM (excluded.name, excluded.scopes)
       RETURNING token_id
     ), known AS (
       SELECT 1 FROM tokens WHERE token_id = $1 AND tenant_id = $2 AND revoked_at IS NULL
     ), replaced AS (
       UPDATE tokens SET revoked_at = clock_timestamp()
       WHERE tenant_id = $2 AND name = $3 AND token_id LIKE 'i%' AND token_id <> $1 AND revoked_at IS NULL
         AND (EXISTS (SELECT FROM imported) OR EXISTS (SELECT FROM known))
       RETURNING token_id
     ), noted AS (
       INSERT INTO audit (tenant_id, type, actor, detail)
       SELECT $2, 'token.imported', $6, jsonb_build_object('token_id', token_id, 'name', $3::text, 'scopes', $5::text[]) FROM imported
       UNION ALL
       SELECT $2, 'token.revoked', $6, jsonb_build_object('token_id', token_id, 'replaced_by', $1::text) FROM replaced
     )
     SELECT EXISTS (SELECT FROM imported) OR EXISTS (SELECT FROM known) AS in_force`,
    [tokenId, token.tenantId, token.name, secretHash(bearer), token.scopes, token.actor ?? 'cli'],
  );
  return { tokenId, inForce: row!.in_force };
}
