import type { Quota, QuotaScope } from '../contracts/quotas';
import type { Standing } from '../domain/quotas';
import type { Queryable } from './database';

/** The limits to look at: those of them that are set count. */
export interface Asked {
  tenantId: string;
  tenantQuotas: readonly Quota[];
  poolId?: string | null;
  poolQuotas?: readonly Quota[];
  /** The workload whose own lease is not counted as held. Default: none. */
  butOf?: string;
}

/** A row of the function `quota_standings`, also as JSON. */
export interface StandingRow {
  scope: QuotaScope;
  scope_id: string;
  quota: Quota;
  max: string | number;
  used: string | number;
  reset_at: Date | string | null;
  reset_ms: number | null;
}

export const standingFrom = (row: StandingRow): Standing => ({
  scope: row.scope,
  scopeId: row.scope_id,
  quota: row.quota,
  limit: Number(row.max),
  used: Number(row.used),
  resetAt: row.reset_at === null ? null : new Date(row.reset_at),
  resetMs: row.reset_ms,
});

const parametersOf = ({ tenantId, tenantQuotas, poolId, poolQuotas }: Asked): unknown[] => [
  tenantId,
  tenantQuotas,
  poolId ?? null,
  poolQuotas ?? [],
];

/** Where limits stand. To act on it, {@link lockQuotas} first. */
export async function standingsOf(db: Queryable, asked: Asked): Promise<Standing[]> {
  const rows = await db.query<StandingRow>(
    `SELECT * FROM quota_standings('tenant', $1, $2::text[], $5)
     UNION ALL SELECT * FROM quota_standings('pool', $3, $4::text[], $5)`,
    [...parametersOf(asked), asked.butOf ?? null],
  );
  return rows.map(standingFrom);
}

/**
 * Keeps others from using the limits, and from changing them, until the transaction ends. They come last in the order of locks,
 * after workload, worker and pool.
 */
export async function lockQuotas(tx: Queryable, asked: Asked): Promise<void> {
  await tx.query(
    `SELECT 1 FROM quotas WHERE (scope = 'tenant' AND scope_id = $1 AND quota = ANY($2::text[]))
       OR (scope = 'pool' AND scope_id = $3 AND quota = ANY($4::text[]))
     ORDER BY scope, scope_id, quota FOR UPDATE`,
    parametersOf(asked),
  );
}

/** Adds one to the window that the clock is in, of each limit that counts by windows. */
export async function charge(tx: Queryable, standings: readonly Standing[]): Promise<void> {
  const counted = standings.filter(({ resetAt }) => resetAt !== null);
  if (counted.length === 0) return;
  await tx.query(
    `INSERT INTO quota_use AS u (scope, scope_id, quota, window_at, used)
     SELECT c.scope, c.scope_id, c.quota, quota_window(c.quota, clock_timestamp()), 1
     FROM jsonb_to_recordset($1::jsonb) AS c(scope text, scope_id text, quota text)
     ON CONFLICT (scope, scope_id, quota, window_at) DO UPDATE SET used = u.used + 1`,
    [JSON.stringify(counted.map(({ scope, scopeId, quota }) => ({ scope, scope_id: scopeId, quota })))],
  );
}
