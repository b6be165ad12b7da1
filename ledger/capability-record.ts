import type { CapabilitiesRecord } from '../contracts/capabilities';
import { Problem } from '../contracts/problems';
import type { Queryable } from './database';
import type { OperatorOrder } from './operator-actions';
import { lockWorkload } from './workload-row';

/** Column `capabilities` of a query over workloads `w`: grants, tokens and counts as JSON; null when nothing was granted. */
export const CAPABILITIES_COLUMN = `
  (SELECT json_build_object(
     'grants', (SELECT coalesce(json_agg(json_build_object('number', g.number, 'hook', g.hook, 'kind', g.kind,
         'operations', g.operations, 'resources', g.literals, 'globs', g.globs, 'max_uses', g.max_uses, 'ttl_ms', g.ttl_ms)
         ORDER BY g.number), '[]') FROM capability_grants g WHERE g.workload_id = w.workload_id),
     'revoked', (SELECT json_build_object('at', r.revoked_at, 'by', r.actor, 'reason', r.reason)
       FROM capability_revocations r WHERE r.workload_id = w.workload_id),
     'deliveries', (SELECT coalesce(json_agg(json_build_object('number', t.delivery, 'state', t.state,
         'close_reason', t.close_reason, 'closed_at', t.closed_at, 'minted_at', t.minted_at, 'refused', t.refused,
         'grants', (SELECT coalesce(json_agg(json_build_object('number', g.number,
             'uses', coalesce(t.uses[g.number], 0), 'remaining', g.max_uses - coalesce(t.uses[g.number], 0),
             'expires_at', least(t.active_since + g.ttl_ms * interval '1 millisecond', t.deadline_at)) ORDER BY g.number), '[]')
           FROM capability_grants g WHERE g.workload_id = t.workload_id)) ORDER BY t.delivery), '[]')
       FROM capability_tokens t WHERE t.workload_id = w.workload_id),
     'now', clock_timestamp())
   WHERE EXISTS (SELECT 1 FROM capability_grants g WHERE g.workload_id = w.workload_id)
      OR EXISTS (SELECT 1 FROM capability_revocations r WHERE r.workload_id = w.workload_id)) AS capabilities`;

/** What {@link CAPABILITIES_COLUMN} gives. */
export type StoredCapabilities = CapabilitiesRecord & { now: string };

/** The column as the API shows it. A token whose grants are all over is closed, though nothing had to write it down. */
export function capabilitiesOf(stored: StoredCapabilities): CapabilitiesRecord {
  const now = new Date(stored.now).getTime();
  return {
    grants: stored.grants,
    revoked: stored.revoked && { ...stored.revoked, at: utc(stored.revoked.at) },
    deliveries: stored.deliveries.map((token) => {
      const ends = token.grants.map((grant) => (grant.expires_at === null ? Infinity : Date.parse(grant.expires_at)));
      const last = Math.max(...ends);
      const expired = (token.state === 'active' || token.state === 'suspended') && last <= now;
      return {
        ...token,
        ...(expired && { state: 'closed', close_reason: 'expired' }),
        closed_at: expired ? new Date(last).toISOString() : token.closed_at && utc(token.closed_at),
        minted_at: utc(token.minted_at),
        grants: token.grants.map((grant) => ({ ...grant, expires_at: grant.expires_at && utc(grant.expires_at) })),
      };
    }),
  };
}

const utc = (time: string): string => new Date(time).toISOString();

/**
 * Closes a workload's capabilities for good: the token in force at once, and no later delivery gets one. Once revoked it stays
 * as it is. Another tenant's workload is `not_found`.
 */
export async function revokeCapabilities(tx: Queryable, order: OperatorOrder): Promise<CapabilitiesRecord> {
  const row = await lockWorkload(tx, order.workloadId);
  if (!row || row.tenant_id !== order.tenantId) throw new Problem('not_found', 'No such workload.');
  await tx.query(
    `WITH revoked AS (
       INSERT INTO capability_revocations (workload_id, actor, reason) VALUES ($1, $2, $3)
       ON CONFLICT DO NOTHING RETURNING revoked_at
     ), closed AS (
       UPDATE capability_tokens SET state = 'closed', closed_at = clock_timestamp(), close_reason = 'revoked'
       WHERE workload_id = $1 AND state <> 'closed' RETURNING delivery
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     SELECT $4::text, $1, 'capability.revoked', $2::text, jsonb_build_object('operator_reason', $3::text,
       'deliveries', (SELECT coalesce(jsonb_agg(delivery ORDER BY delivery), '[]') FROM closed)) FROM revoked`,
    [row.workload_id, order.actor, order.reason, row.tenant_id],
  );
  const [stored] = await tx.query<{ capabilities: StoredCapabilities }>(
    `SELECT ${CAPABILITIES_COLUMN} FROM workloads w WHERE w.workload_id = $1`,
    [row.workload_id],
  );
  return capabilitiesOf(stored!.capabilities);
}
