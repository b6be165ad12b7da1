import type { RuleSnapshot } from '../contracts/policy';
import { Problem } from '../contracts/problems';
import type { Requirements } from '../contracts/requirements';
import type { PoolState } from '../contracts/terminology';
import { choosePool } from '../domain/pool-choice';
import type { Queryable } from './database';
import { HEARD_LATELY } from './servers';
import type { WorkloadRow } from './workload-row';

/** Of a longer queue the rest is not counted. */
const COUNTED_QUEUE = 1000;
const MAX_CANDIDATES = 200;

/** Where a rule sends its work: the pool that it names, or the one that serves what it requires best now; null when none does. */
export async function poolFor(db: Queryable, tenantId: string, to: RuleSnapshot['to']): Promise<string | null> {
  if (to.pool !== null) return to.pool;
  const requires = to.requires ?? {};
  const candidates = await db.query<{
    pool_id: string;
    status: PoolState;
    tenants: string[] | null;
    region: string | null;
    capabilities: unknown;
    ready: boolean;
    queued: number;
  }>(
    `SELECT p.pool_id, p.status, p.tenants, p.region, p.capabilities,
       EXISTS (SELECT 1 FROM workers k WHERE k.pool_id = p.pool_id AND k.status = 'active'
         AND $4 = ANY(coalesce(k.executors, '{opencrow}')) AND ${HEARD_LATELY}) AS ready,
       (SELECT count(*)::int FROM (
          SELECT 1 FROM workloads w WHERE w.pool_id = p.pool_id AND w.state = 'queued' LIMIT $5) q) AS queued
     FROM pools p
     WHERE p.status = 'active' AND (p.tenants IS NULL OR $1 = ANY(p.tenants)) AND p.capabilities @> $2::jsonb
       AND ($3::text IS NULL OR p.region = $3)
     ORDER BY ready DESC, p.pool_id LIMIT $6`,
    [
      tenantId,
      JSON.stringify(declaring(requires)),
      requires.region ?? null,
      to.executor,
      COUNTED_QUEUE,
      MAX_CANDIDATES,
    ],
  );
  const pools = candidates.map(({ pool_id: poolId, ...pool }) => ({ poolId, ...pool }));
  return choosePool({ tenantId, requires }, pools);
}

/** What capabilities hold at least that meet the requirements. */
const declaring = ({ flags, profile, provider }: Requirements): object => ({
  ...(flags && flags.length > 0 && { flags }),
  ...(profile !== undefined && { profiles: [profile] }),
  ...(provider !== undefined && { providers: [provider] }),
});

/**
 * Sends a workload that is to be handed over again to the pool that serves best now, where its rule names none. Without one it is
 * `workload.state_conflict`.
 */
export async function routeAgain(tx: Queryable, row: WorkloadRow): Promise<WorkloadRow> {
  if (row.requires === null) return row;
  const [decision] = await tx.query<{ rule: string | null }>('SELECT rule FROM decisions WHERE workload_id = $1', [
    row.workload_id,
  ]);
  const to = decision?.rule == null ? null : (JSON.parse(decision.rule) as RuleSnapshot).to;
  if (to?.pool !== null) return row;
  const poolId = await poolFor(tx, row.tenant_id, to);
  if (poolId === null) {
    throw new Problem('workload.state_conflict', 'No pool serves what this workload requires.', {
      extra: { state: row.state, why: 'no_pool' },
    });
  }
  await tx.query('UPDATE workloads SET pool_id = $2 WHERE workload_id = $1', [row.workload_id, poolId]);
  return { ...row, pool_id: poolId };
}
