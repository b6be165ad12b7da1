import { offeredCapabilities, type CapabilityGrant, type OfferedCapability } from '../contracts/capabilities';
import { formatBearer, newBearerId, randomSecret, secretHash } from '../domain/secret';
import type { Queryable } from './database';
import type { WorkloadRow } from './workload-row';

/** Writes down what a decision grants, in the decision's transaction. */
export async function recordGrants(
  tx: Queryable,
  row: Pick<WorkloadRow, 'workload_id' | 'tenant_id'>,
  grants: readonly CapabilityGrant[],
): Promise<void> {
  if (grants.length === 0) return;
  await tx.query(
    `WITH grants AS (
       INSERT INTO capability_grants (workload_id, number, hook, kind, operations, literals, globs, max_uses, ttl_ms)
       SELECT $1, number, hook, kind, operations, literals, globs, max_uses, ttl
       FROM ROWS FROM (jsonb_to_recordset($3::jsonb) AS (hook text, kind text, operations text[], literals text[],
         globs text[], max_uses integer, ttl bigint)) WITH ORDINALITY
         AS given (hook, kind, operations, literals, globs, max_uses, ttl, number)
       RETURNING number, hook, kind
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     SELECT $2::text, $1, 'capability.granted', 'policy',
       jsonb_build_object('grants', jsonb_agg(jsonb_build_object('hook', hook, 'kind', kind) ORDER BY number)) FROM grants`,
    [row.workload_id, row.tenant_id, JSON.stringify(grants)],
  );
}

/**
 * Makes the token of the delivery that an intent under this claim would get. The one of an earlier claim for the same delivery
 * is dead with it; what was counted stays counted. Undefined when nothing is granted, or it was revoked.
 */
export async function mintCapability(
  tx: Queryable,
  row: Pick<WorkloadRow, 'workload_id' | 'tenant_id'>,
  delivery: number,
  actor: string,
): Promise<{ token: string; offered: OfferedCapability[] } | undefined> {
  const tokenId = newBearerId();
  const token = formatBearer('owc', tokenId, randomSecret()).reveal();
  const granted = await tx.query<{ hook: string; operations: string[] }>(
    `WITH granted AS (
       SELECT number, hook, operations FROM capability_grants WHERE workload_id = $1
         AND NOT EXISTS (SELECT 1 FROM capability_revocations WHERE workload_id = $1)
     ), minted AS (
       INSERT INTO capability_tokens AS t (workload_id, delivery, tenant_id, token_id, token_hash, uses)
       SELECT $1, $2, $3, $4, $5, array_fill(0, ARRAY[count(*)::int]) FROM granted HAVING count(*) > 0
       ON CONFLICT (workload_id, delivery) DO UPDATE SET token_id = excluded.token_id, token_hash = excluded.token_hash,
         state = 'pending', minted_at = clock_timestamp(), active_since = NULL, deadline_at = NULL,
         closed_at = NULL, close_reason = NULL
       RETURNING t.token_id, t.delivery
     ), note AS (
       INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
       SELECT $3, $1, 'capability.minted', $6, jsonb_build_object('delivery', delivery, 'token_id', token_id) FROM minted
     )
     SELECT hook, operations FROM granted ORDER BY number`,
    [row.workload_id, delivery, row.tenant_id, tokenId, secretHash(token), actor],
  );
  return granted.length === 0 ? undefined : { token, offered: offeredCapabilities(granted) };
}
