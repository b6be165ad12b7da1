import { Problem } from '../contracts/problems';
import { QUOTAS_OF, type Entitlement, type Limits, type Quota, type QuotaScope } from '../contracts/quotas';
import type { Standing } from '../domain/quotas';
import type { Database, Queryable } from './database';
import { lockQuotas, standingsOf, type Asked } from './quota-standings';
import { queueOf, type Queue } from './queue-depths';
import { collectMinutes } from './worker-minutes';

/** A tenant or a pool. */
export interface QuotaHolder {
  scope: QuotaScope;
  id: string;
}

/** What is limited of a tenant or pool, and how much of it is used now. */
export interface QuotaRecord {
  /** Null for pools. */
  entitlement: Entitlement | null;
  /** The tenant whose admins manage the pool, or the tenant itself; null for operators' pools. */
  tenantId: string | null;
  /** Limits that are set. */
  standings: Standing[];
  queue: Queue;
}

/** Who changes limits or an entitlement, and why; both go to the audit. */
export interface QuotaOrder {
  actor: string;
  reason: string;
}

const askedOf = ({ scope, id }: QuotaHolder): Asked =>
  scope === 'tenant'
    ? { tenantId: id, tenantQuotas: QUOTAS_OF.tenant }
    : { tenantId: '', tenantQuotas: [], poolId: id, poolQuotas: QUOTAS_OF.pool };

/** Limits and use of a tenant or pool; `not_found` when there is none. */
export async function quotasOf(db: Database, holder: QuotaHolder): Promise<QuotaRecord> {
  return db.transaction((tx) => read(tx, holder));
}

async function read(tx: Queryable, holder: QuotaHolder): Promise<QuotaRecord> {
  const known = await holderOf(tx, holder);
  const asked = askedOf(holder);
  if (holder.scope === 'tenant') {
    await lockQuotas(tx, { tenantId: holder.id, tenantQuotas: ['worker_minutes_per_hour'] });
    await collectMinutes(tx, holder.id, null);
  }
  return { ...known, standings: await standingsOf(tx, asked), queue: await queueOf(tx, holder.scope, holder.id) };
}

interface Holder {
  entitlement: Entitlement | null;
  tenantId: string | null;
}

async function holderOf(
  tx: Queryable,
  { scope, id }: QuotaHolder,
  lock: '' | 'FOR NO KEY UPDATE' = '',
): Promise<Holder> {
  const [row] = await tx.query<Holder>(
    scope === 'tenant'
      ? `SELECT entitlement, tenant_id AS "tenantId" FROM tenants WHERE tenant_id = $1 ${lock}`
      : `SELECT NULL AS entitlement, tenant_id AS "tenantId" FROM pools WHERE pool_id = $1 ${lock}`,
    [id],
  );
  if (!row) throw new Problem('not_found', `No such ${scope}.`);
  return row;
}

/**
 * Sets all limits of a tenant or pool: those not named are none from now on. What was used within the present windows counts for limits
 * that stay. `not_found` when there is no such tenant or pool.
 */
export async function setQuotas(
  db: Database,
  holder: QuotaHolder,
  change: (limits: Limits) => Limits,
  { actor, reason }: QuotaOrder,
): Promise<QuotaRecord> {
  return db.transaction(async (tx) => {
    await holderOf(tx, holder, 'FOR NO KEY UPDATE');
    const before = await limitsOf(tx, holder);
    const after = present(change(before));
    if (JSON.stringify(before) !== JSON.stringify(after)) await write(tx, holder, { before, after, actor, reason });
    return read(tx, holder);
  });
}

/** Limits in the order of their names, without those that are none. */
const present = (limits: Limits): Limits =>
  Object.fromEntries(
    Object.entries(limits)
      .filter(([, limit]) => limit !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  );

async function limitsOf(tx: Queryable, { scope, id }: QuotaHolder): Promise<Limits> {
  const rows = await tx.query<{ quota: Quota; max: string }>(
    'SELECT quota, max FROM quotas WHERE scope = $1 AND scope_id = $2',
    [scope, id],
  );
  return present(Object.fromEntries(rows.map(({ quota, max }) => [quota, Number(max)])));
}

async function write(
  tx: Queryable,
  { scope, id }: QuotaHolder,
  { before, after, actor, reason }: QuotaOrder & { before: Limits; after: Limits },
): Promise<void> {
  await tx.query(
    `WITH wanted AS (
       SELECT key AS quota, value::bigint AS max FROM jsonb_each_text($3::jsonb)
     ), gone AS (
       DELETE FROM quotas WHERE scope = $1 AND scope_id = $2 AND quota NOT IN (SELECT quota FROM wanted)
     ), kept AS (
       INSERT INTO quotas (scope, scope_id, quota, max) SELECT $1, $2, quota, max FROM wanted ORDER BY quota
       ON CONFLICT (scope, scope_id, quota) DO UPDATE SET max = excluded.max
     )
     INSERT INTO audit (tenant_id, type, actor, detail)
     VALUES ((SELECT tenant_id FROM pools WHERE pool_id = $2 AND $1 = 'pool' UNION ALL SELECT $2 WHERE $1 = 'tenant'),
       'quota.set', $4, $5::jsonb)`,
    [
      scope,
      id,
      JSON.stringify(after),
      actor,
      JSON.stringify({ scope, scope_id: id, limits: after, previous: before, operator_reason: reason }),
    ],
  );
}

/** Says whether a tenant may begin new work. What it is already changes nothing and leaves no audit row. */
export async function setEntitlement(
  db: Database,
  tenantId: string,
  entitlement: Entitlement,
  { actor, reason }: QuotaOrder,
): Promise<QuotaRecord> {
  const holder: QuotaHolder = { scope: 'tenant', id: tenantId };
  return db.transaction(async (tx) => {
    const before = await holderOf(tx, holder, 'FOR NO KEY UPDATE');
    if (before.entitlement !== entitlement) {
      await tx.query(
        `WITH tenant AS (UPDATE tenants SET entitlement = $2 WHERE tenant_id = $1)
         INSERT INTO audit (tenant_id, type, actor, detail)
         VALUES ($1, 'tenant.entitlement_set', $3, jsonb_build_object('entitlement', $2::text, 'previous', $4::text,
           'operator_reason', $5::text))`,
        [tenantId, entitlement, actor, before.entitlement, reason],
      );
    }
    return read(tx, holder);
  });
}

/** Tenants and pools that have limits, or whose entitlement has lapsed. */
export async function limitedHolders(db: Queryable): Promise<QuotaHolder[]> {
  return db.query<QuotaHolder>(
    `SELECT DISTINCT scope, scope_id AS id FROM quotas
     UNION SELECT 'tenant', tenant_id FROM tenants WHERE entitlement <> 'active' ORDER BY scope, id`,
  );
}

/** Forgets windows that are over and leases that were long given up. Returns how many rows went. */
export async function pruneQuotas(db: Queryable, limit: number): Promise<number> {
  const [row] = await db.query<{ count: number }>(
    `WITH used AS (
       DELETE FROM quota_use WHERE ctid = ANY(ARRAY(
         SELECT ctid FROM quota_use WHERE window_at < clock_timestamp() - interval '1 day' LIMIT $1)) RETURNING 1
     ), metered AS (
       DELETE FROM metered_leases WHERE work_id = ANY(ARRAY(
         SELECT m.work_id FROM metered_leases m JOIN leases l USING (work_id)
         WHERE l.closed_at < clock_timestamp() - interval '1 day' LIMIT $1)) RETURNING 1
     ), denials AS (
       DELETE FROM quota_denials WHERE noted_at < clock_timestamp() - interval '1 day' RETURNING 1
     )
     SELECT ((SELECT count(*) FROM used) + (SELECT count(*) FROM metered) + (SELECT count(*) FROM denials))::int AS count`,
    [limit],
  );
  return row!.count;
}
