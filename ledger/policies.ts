import type { Queryable, Database } from './database';

export interface StoredPolicy {
  version: number;
  policy_hash: string;
  source: string;
  created_at: Date;
  created_by: string;
}

/** The policy that decides a tenant's events now; null when it has none (every event is then ignored). */
export async function activePolicy(db: Queryable, tenantId: string): Promise<StoredPolicy | null> {
  const [row] = await db.query<StoredPolicy>(
    `SELECT p.version, p.policy_hash, p.source, p.created_at, p.created_by
     FROM tenants t JOIN policies p ON p.tenant_id = t.tenant_id AND p.version = t.active_policy_version
     WHERE t.tenant_id = $1`,
    [tenantId],
  );
  return row ?? null;
}

/**
 * Makes a checked policy the tenant's active one, as a new version, at once for every event admitted from now on. The text
 * that is active already is a no-op. `onlyIfNone` seeds: it changes nothing where a policy exists.
 */
export async function activatePolicy(
  db: Database,
  tenantId: string,
  policy: { source: string; hash: string },
  actor: string,
  options: { onlyIfNone?: boolean } = {},
): Promise<{ version: number; changed: boolean }> {
  return db.transaction(async (tx) => {
    await tx.query('SELECT 1 FROM tenants WHERE tenant_id = $1 FOR NO KEY UPDATE', [tenantId]);
    const current = await activePolicy(tx, tenantId);
    if (current && (options.onlyIfNone || current.policy_hash === policy.hash)) {
      return { version: current.version, changed: false };
    }
    const [row] = await tx.query<{ version: number }>(
      `WITH added AS (
         INSERT INTO policies (tenant_id, version, policy_hash, source, created_by)
         SELECT $1::text, coalesce(max(version), 0) + 1, $2::text, $3::text, $4::text FROM policies WHERE tenant_id = $1
         RETURNING version
       ), note AS (
         INSERT INTO audit (tenant_id, type, actor, detail)
         SELECT $1::text, 'policy.activated', $4::text, jsonb_build_object('version', version, 'policy_hash', $2::text) FROM added
       )
       UPDATE tenants SET active_policy_version = added.version FROM added WHERE tenant_id = $1 RETURNING added.version`,
      [tenantId, policy.hash, policy.source, actor],
    );
    return { version: row!.version, changed: true };
  });
}

export async function policyVersion(db: Queryable, tenantId: string, version: number): Promise<StoredPolicy | null> {
  const [row] = await db.query<StoredPolicy>(
    'SELECT version, policy_hash, source, created_at, created_by FROM policies WHERE tenant_id = $1 AND version = $2',
    [tenantId, version],
  );
  return row ?? null;
}

/** Ids of the pools that a tenant's policy may name. */
export async function poolIds(db: Queryable, tenantId: string): Promise<string[]> {
  const rows = await db.query<{ pool_id: string }>(
    `SELECT pool_id FROM pools WHERE status <> 'retired' AND (tenants IS NULL OR $1 = ANY(tenants)) ORDER BY pool_id`,
    [tenantId],
  );
  return rows.map((row) => row.pool_id);
}
