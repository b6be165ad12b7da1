import type { Queryable } from './database';

/** Version of the secret that signs a tenant's callbacks. */
export async function callbackSecretVersion(db: Queryable, tenantId: string): Promise<number> {
  const [row] = await db.query<{ secret_version: number }>(
    'SELECT secret_version FROM callback_secrets WHERE tenant_id = $1',
    [tenantId],
  );
  return row?.secret_version ?? 1;
}

/** Takes the next secret for a tenant's callbacks; for a while they are signed with the one before too. Returns its version. */
export async function rotateCallbackSecret(db: Queryable, tenantId: string, actor: string): Promise<number> {
  const [row] = await db.query<{ version: number }>(
    `WITH rotated AS (
       INSERT INTO callback_secrets AS known (tenant_id, secret_version, rotated_at) VALUES ($1, 2, clock_timestamp())
       ON CONFLICT (tenant_id) DO UPDATE SET secret_version = known.secret_version + 1, rotated_at = clock_timestamp()
       RETURNING secret_version
     ), note AS (
       INSERT INTO audit (tenant_id, type, actor, detail)
       SELECT $1, 'callback_secret.rotated', $2::text, jsonb_build_object('version', secret_version) FROM rotated
     )
     SELECT secret_version AS version FROM rotated`,
    [tenantId, actor],
  );
  return row!.version;
}
