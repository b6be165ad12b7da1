import { randomBytes } from 'node:crypto';
import type { Database, Queryable } from './database';

/** Where a source without a token may post what it signs. */
export interface WebhookEndpoint {
  endpoint_id: string;
  tenant_id: string;
  source: string;
  secret_version: number;
  rotated_at: Date | null;
  now: Date;
}

const COLUMNS = 'endpoint_id, tenant_id, source, secret_version, rotated_at, clock_timestamp() AS now';

/** Opens a source's endpoint; one that is open keeps its address and gets another secret, the old one counts for a while. */
export async function openEndpoint(
  db: Database,
  tenantId: string,
  source: string,
  actor: string,
): Promise<{ endpoint: WebhookEndpoint; created: boolean }> {
  return db.transaction(async (tx) => {
    const [endpoint] = await tx.query<WebhookEndpoint>(
      `INSERT INTO webhook_endpoints AS known (endpoint_id, tenant_id, source) VALUES ($1, $2, $3)
       ON CONFLICT (tenant_id, source) WHERE closed_at IS NULL
       DO UPDATE SET secret_version = known.secret_version + 1, rotated_at = clock_timestamp()
       RETURNING ${COLUMNS}`,
      [`whe_${randomBytes(16).toString('hex')}`, tenantId, source],
    );
    const created = endpoint!.secret_version === 1;
    await note(tx, created ? 'webhook_endpoint.opened' : 'webhook_endpoint.rotated', endpoint!, actor);
    return { endpoint: endpoint!, created };
  });
}

/** Closes a source's endpoint from the next request on. False when it has none. */
export async function closeEndpoint(db: Database, tenantId: string, source: string, actor: string): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [endpoint] = await tx.query<WebhookEndpoint>(
      `UPDATE webhook_endpoints SET closed_at = clock_timestamp()
       WHERE tenant_id = $1 AND source = $2 AND closed_at IS NULL RETURNING ${COLUMNS}`,
      [tenantId, source],
    );
    if (endpoint) await note(tx, 'webhook_endpoint.closed', endpoint, actor);
    return endpoint !== undefined;
  });
}

const note = (tx: Queryable, type: string, endpoint: WebhookEndpoint, actor: string): Promise<unknown> =>
  tx.query(
    `INSERT INTO audit (tenant_id, type, actor, detail)
     VALUES ($1, $2, $3, jsonb_build_object('endpoint_id', $4::text, 'source', $5::text, 'version', $6::int))`,
    [endpoint.tenant_id, type, actor, endpoint.endpoint_id, endpoint.source, endpoint.secret_version],
  );

/** The open endpoint of that id; null when there is none. */
export async function endpointOf(db: Queryable, endpointId: string): Promise<WebhookEndpoint | null> {
  const [endpoint] = await db.query<WebhookEndpoint>(
    `SELECT ${COLUMNS} FROM webhook_endpoints WHERE endpoint_id = $1 AND closed_at IS NULL`,
    [endpointId],
  );
  return endpoint ?? null;
}
