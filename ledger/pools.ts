import { isDeepStrictEqual } from 'node:util';
import { Problem } from '../contracts/problems';
import {
  modeRefusal,
  type NewPool,
  type PoolRecord,
  type PoolSummary,
  type PoolUpdate,
} from '../contracts/worker-pools';
import type { PoolState } from '../contracts/terminology';
import { newBearerId } from '../domain/secret';
import { withIsoTimes, type RowOf } from './iso-times';
import { within, type Database, type Queryable } from './database';
import { closePoolGate } from './pool-gate';

/** Who manages pools and workers. */
export interface AdminContext {
  /** E.g. `token:<id>`, `cli`. */
  actor: string;
  /** The tenant it is limited to; null or absent: an operator. */
  owner?: string | null | undefined;
}

/** Which pools to list; every field narrows. */
export interface PoolFilter {
  /** Only what this tenant manages, and summaries of operators' pools that serve it. */
  owner?: string | null | undefined;
  poolId?: string | undefined;
  status?: PoolState | undefined;
  /** Pools after this id. */
  after?: string | undefined;
  /** Default: all. */
  limit?: number | undefined;
}

/** The columns that callers set; times come from the database. */
type Terms = Omit<PoolRecord, 'workers' | 'created_at' | 'updated_at' | 'pool_id' | 'tenant_id' | 'mode' | 'status'>;
type PoolRow = Omit<PoolRecord, 'workers' | 'created_at' | 'updated_at'>;
type ListedRow = RowOf<PoolRecord, 'created_at' | 'updated_at'>;

const COLUMNS =
  'pool_id, tenant_id, name, mode, status, region, tenants, capabilities, max_workers, max_concurrent_work, auto_activate, auto_recover, compatibility';

/** Pools by id; of operators' pools a tenant gets summaries. */
export async function listPools(db: Queryable, filter: PoolFilter = {}): Promise<(PoolRecord | PoolSummary)[]> {
  const owner = filter.owner ?? null;
  const rows = await db.query<ListedRow>(
    `SELECT ${COLUMNS}, created_at, updated_at, coalesce(counted.workers, '{}') AS workers
     FROM pools p LEFT JOIN LATERAL (
       SELECT jsonb_object_agg(status, n) AS workers
       FROM (SELECT status, count(*)::int AS n FROM workers w WHERE w.pool_id = p.pool_id GROUP BY status) by_status
     ) counted ON true
     WHERE ($1::text IS NULL OR tenant_id = $1 OR tenant_id IS NULL AND (tenants IS NULL OR $1 = ANY (tenants)))
       AND ($2::text IS NULL OR pool_id = $2) AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR pool_id > $4)
     ORDER BY pool_id LIMIT $5`,
    [owner, filter.poolId ?? null, filter.status ?? null, filter.after ?? null, filter.limit ?? null],
  );
  return rows.map((row) =>
    owner === null || row.tenant_id === owner
      ? withIsoTimes<PoolRecord, 'created_at' | 'updated_at'>(row)
      : summaryOf(row),
  );
}

const summaryOf = ({ pool_id, name, status, region, workers }: ListedRow): PoolSummary => ({
  pool_id,
  name,
  status,
  region,
  workers,
});

async function recordOf(tx: Queryable, poolId: string): Promise<PoolRecord> {
  const [pool] = await listPools(tx, { poolId });
  return pool as PoolRecord;
}

/**
 * Locks a pool for what only those who manage it may do. To others it is `not_found`, or `auth.scope_required` when it is an
 * operators' pool that serves them. Rows that refer to it can still be written by others meanwhile.
 */
export async function lockManagedPool(
  tx: Queryable,
  poolId: string,
  owner: string | null | undefined,
): Promise<PoolRow> {
  const [pool] = await tx.query<PoolRow>(`SELECT ${COLUMNS} FROM pools WHERE pool_id = $1 FOR NO KEY UPDATE`, [poolId]);
  if (pool && (owner == null || pool.tenant_id === owner)) return pool;
  if (pool?.tenant_id === null && (pool.tenants === null || pool.tenants.includes(owner!))) {
    throw new Problem('auth.scope_required', "This pool is the operators': it needs the scope operator.", {
      extra: { scopes: ['operator'] },
    });
  }
  throw new Problem('not_found', 'No such pool.');
}

/**
 * Makes a pool; a tenant's admin makes one of and for the tenant. Nothing has to be restarted: it is a task queue, which workers
 * begin to poll. Problems: `pool.exists`, `request.invalid`, `auth.scope_required`.
 */
export async function createPool(
  db: Database | Queryable,
  wish: NewPool,
  { actor, owner = null }: AdminContext,
): Promise<PoolRecord> {
  refuseTenants(wish, owner);
  const poolId = wish.pool_id ?? `mwp_${newBearerId()}`;
  const none: Terms = {
    name: wish.name,
    region: null,
    tenants: owner === null ? null : [owner],
    capabilities: {},
    max_workers: null,
    max_concurrent_work: null,
    auto_activate: false,
    auto_recover: false,
    compatibility: null,
  };
  const terms = changedTerms(none, wish);
  refuseUnlessPossible(wish.mode, terms);
  return within(db, async (tx) => {
    const made = await tx.query(
      `WITH made AS (
         INSERT INTO pools (${COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
         ON CONFLICT (pool_id) DO NOTHING RETURNING pool_id, tenant_id, mode, status
       )
       INSERT INTO audit (tenant_id, type, actor, detail)
       SELECT tenant_id, 'pool.created', $14, jsonb_build_object('pool_id', pool_id, 'mode', mode, 'status', status)
       FROM made RETURNING 1`,
      [poolId, owner, terms.name, wish.mode, wish.status ?? 'active', ...valuesOf(terms), actor],
    );
    if (made.length === 0) {
      throw new Problem('pool.exists', 'There is a pool with this id.', {
        errors: [{ pointer: '/pool_id', detail: 'is taken' }],
      });
    }
    return recordOf(tx, poolId);
  });
}

/**
 * Changes a pool under its lock; what is absent stays. Pausing, resuming and retiring are audited as such. `retired` is final:
 * `pool.not_active`. Problems: `not_found`, `request.invalid`, `auth.scope_required`.
 */
export async function updatePool(
  db: Database | Queryable,
  poolId: string,
  wish: PoolUpdate,
  { actor, owner = null }: AdminContext,
): Promise<PoolRecord> {
  refuseTenants(wish, owner);
  return within(db, async (tx) => {
    await closePoolGate(tx, poolId);
    const pool = await lockManagedPool(tx, poolId, owner);
    if (wish.mode !== undefined && wish.mode !== pool.mode) refuse('/mode', `is ${pool.mode} and cannot be changed`);
    const status = wish.status ?? pool.status;
    if (pool.status === 'retired' && status !== 'retired') {
      throw new Problem('pool.not_active', 'The pool is retired, which is final.', { extra: { status: pool.status } });
    }
    const terms = changedTerms(pool, wish);
    refuseUnlessPossible(pool.mode, terms);
    const fields = Object.keys(terms).filter(
      (name) => !isDeepStrictEqual(terms[name as keyof Terms], pool[name as keyof Terms]),
    );
    const types = [...(fields.length > 0 ? ['updated'] : []), ...(status === pool.status ? [] : [STATUS_TYPE[status]])];
    if (types.length > 0) {
      await tx.query(
        `WITH changed AS (
           UPDATE pools SET name = $2, status = $3, region = $4, tenants = $5, capabilities = $6, max_workers = $7,
             max_concurrent_work = $8, auto_activate = $9, auto_recover = $10, compatibility = $11,
             updated_at = clock_timestamp()
           WHERE pool_id = $1 RETURNING pool_id, tenant_id
         )
         INSERT INTO audit (tenant_id, type, actor, detail)
         SELECT tenant_id, 'pool.' || kind, $13,
           jsonb_build_object('pool_id', pool_id) || CASE WHEN kind = 'updated' THEN jsonb_build_object('fields', $14::text[])
             ELSE jsonb_build_object('status', $3::text, 'previous', $15::text) END
         FROM changed, unnest($12::text[]) AS kind`,
        [poolId, terms.name, status, ...valuesOf(terms), types, actor, fields, pool.status],
      );
    }
    return recordOf(tx, poolId);
  });
}

const STATUS_TYPE: Record<PoolState, string> = { active: 'resumed', paused: 'paused', retired: 'retired' };

/** In the order of {@link COLUMNS}, from `region` on. */
const valuesOf = (terms: Terms): unknown[] => [
  terms.region,
  terms.tenants,
  JSON.stringify(terms.capabilities),
  terms.max_workers,
  terms.max_concurrent_work,
  terms.auto_activate,
  terms.auto_recover,
  terms.compatibility && JSON.stringify(terms.compatibility),
];

function changedTerms(now: Terms, wish: Omit<PoolUpdate, 'mode' | 'status'>): Terms {
  const kept = <T>(wished: T | undefined, present: T): T => (wished === undefined ? present : wished);
  return {
    name: kept(wish.name, now.name),
    region: kept(wish.region, now.region),
    tenants: kept(wish.tenants && [...new Set(wish.tenants)].sort(), now.tenants),
    capabilities: wish.capabilities === null ? {} : kept(wish.capabilities, now.capabilities),
    max_workers: kept(wish.max_workers, now.max_workers),
    max_concurrent_work: kept(wish.max_concurrent_work, now.max_concurrent_work),
    auto_activate: kept(wish.auto_activate, now.auto_activate),
    auto_recover: kept(wish.auto_recover, now.auto_recover),
    compatibility: kept(wish.compatibility, now.compatibility),
  };
}

function refuseTenants({ tenants }: { tenants?: unknown }, owner: string | null): void {
  if (tenants === undefined || owner === null) return;
  throw new Problem('auth.scope_required', 'Which tenants a pool serves is said by operators.', {
    errors: [{ pointer: '/tenants', detail: 'needs the scope operator' }],
    extra: { scopes: ['operator'] },
  });
}

function refuseUnlessPossible(mode: string, terms: Terms): void {
  const refused = modeRefusal(mode);
  if (refused !== null) refuse('/mode', refused);
  if (terms.auto_activate && mode !== 'self_hosted') refuse('/auto_activate', 'is for self-hosted pools only');
}

function refuse(pointer: string, detail: string): never {
  throw new Problem('request.invalid', 'The request breaks a rule.', { errors: [{ pointer, detail }] });
}
