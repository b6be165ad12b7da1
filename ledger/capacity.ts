import { ineligibility, type Ineligible } from '../domain/eligibility';
import type { Queryable } from './database';
import { HEARD_LATELY, needsOf, poolFactsOf, SERVER_COLUMNS, workerFactsOf, type ServerColumns } from './servers';
import type { WorkloadRow } from './workload-row';

/** What decides who may have a workload; workloads alike in it are judged once. */
type Shape = Pick<WorkloadRow, 'pool_id' | 'tenant_id' | 'executor' | 'requires' | 'checkpoint_schema'>;

/** Kinds of waiting work that are looked at in one go. */
const MAX_SHAPES = 5000;

/**
 * Says of queued workloads whether anybody can have them at all: `no_capacity` when their pool is not active or no active worker of
 * it that was heard of for a minute may have them, `waiting_for_worker` when one is back. Returns how many changed; their
 * workflows are woken to show it.
 */
export async function noteCapacity(db: Queryable, waitedMs: number, limit = 500): Promise<number> {
  const shapes = await db.query<Shape & { noted: boolean; unnoted: boolean }>(
    `SELECT pool_id, tenant_id, executor, requires, checkpoint_schema,
       bool_or(reason = 'no_capacity') AS noted, bool_or(reason <> 'no_capacity') AS unnoted
     FROM workloads
     WHERE state = 'queued' AND waiting_for IS NULL AND updated_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
     GROUP BY pool_id, tenant_id, executor, requires, checkpoint_schema LIMIT $2`,
    [waitedMs, MAX_SHAPES],
  );
  if (shapes.length === 0) return 0;
  const servers = await serversOf(db, [...new Set(shapes.flatMap(({ pool_id: pool }) => pool ?? []))]);
  const changed = shapes.flatMap(({ noted, unnoted, ...shape }) => {
    const served = unfitFor(shape, servers.get(shape.pool_id ?? '') ?? []).some((unfit) => unfit === null);
    return (served ? noted : unnoted) ? [{ ...shape, served }] : [];
  });
  if (changed.length === 0) return 0;
  const rows = await db.query(
    `WITH changed AS (
       SELECT w.workload_id, CASE WHEN s.served THEN 'waiting_for_worker' ELSE 'no_capacity' END AS reason
       FROM jsonb_to_recordset($3::jsonb) AS s(pool_id text, tenant_id text, executor text, requires jsonb, checkpoint_schema int,
         served boolean)
       JOIN workloads w ON w.pool_id = s.pool_id AND w.tenant_id = s.tenant_id AND w.executor = s.executor
         AND w.requires IS NOT DISTINCT FROM s.requires AND w.checkpoint_schema IS NOT DISTINCT FROM s.checkpoint_schema
       WHERE w.state = 'queued' AND w.waiting_for IS NULL AND (w.reason = 'no_capacity') = s.served
         AND w.updated_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
       LIMIT $2
     ), noted AS (
       UPDATE workloads w SET reason = changed.reason, wake_seq = wake_seq + 1, wake_at = clock_timestamp() - interval '1 hour'
       FROM changed WHERE w.workload_id = changed.workload_id AND w.state = 'queued' AND w.waiting_for IS NULL AND w.reason <> changed.reason
       RETURNING w.workload_id, w.tenant_id, w.reason
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor)
     SELECT tenant_id, workload_id, 'workload.' || reason, 'sweep' FROM noted RETURNING 1`,
    [waitedMs, limit, JSON.stringify(changed)],
  );
  return rows.length;
}

/** The active workers of these pools that were heard of lately, by pool, with what they are judged by. */
async function serversOf(db: Queryable, poolIds: readonly string[]): Promise<Map<string, ServerColumns[]>> {
  const rows = await db.query<ServerColumns>(
    `SELECT ${SERVER_COLUMNS}, k.capabilities AS worker_capabilities, p.capabilities AS pool_capabilities
     FROM workers k JOIN pools p USING (pool_id)
     WHERE k.pool_id = ANY($1) AND k.status = 'active' AND ${HEARD_LATELY}`,
    [poolIds],
  );
  const servers = new Map<string, ServerColumns[]>();
  for (const row of rows) {
    const known = servers.get(row.server_pool);
    if (known) known.push(row);
    else servers.set(row.server_pool, [row]);
  }
  return servers;
}

/** Why each of these workers may not have the work; null of one that may. Who never said what it offers, offers OpenCrow. */
const unfitFor = (shape: Shape, servers: readonly ServerColumns[]): (Ineligible | null)[] =>
  servers.map((server) =>
    ineligibility(needsOf(shape), poolFactsOf(server), {
      ...workerFactsOf(server),
      executors: server.executors ?? ['opencrow'],
    }),
  );

/** Who may have a workload that waits for a worker. */
export interface Claimants {
  pool_status: string;
  /** Active workers of the pool that were heard of lately. */
  workers: number;
  /** Those among them that may have it. */
  eligible: number;
  /** What keeps the others from it, each once, without their names. */
  because: string[];
}

/** Reasons that are told at most. */
const MAX_REASONS = 10;

/** Who may have a workload; null when it has no pool. */
export async function claimantsOf(db: Queryable, row: Shape): Promise<Claimants | null> {
  const [pool] = await db.query<{ status: string }>('SELECT status FROM pools WHERE pool_id = $1', [row.pool_id]);
  if (!pool) return null;
  const unfit = unfitFor(row, (await serversOf(db, [row.pool_id!])).get(row.pool_id!) ?? []);
  return {
    pool_status: pool.status,
    workers: unfit.length,
    eligible: unfit.filter((each) => each === null).length,
    because: [...new Set(unfit.flatMap((each) => each?.why ?? []))].sort().slice(0, MAX_REASONS),
  };
}
