import type { PoolRecord } from '../../contracts/worker-pools';
import type { PoolState, WorkerState } from '../../contracts/terminology';
import type { Database } from '../../ledger/database';
import { heldWork } from '../../ledger/held-work';
import { listPools } from '../../ledger/pools';
import { listWorkers } from '../../ledger/worker-list';
import type { Report } from '../report';
import { table } from '../table';
import { knownPool, ledgerTime } from './known';
import { count, listText, short, sinceText } from './texts';
import { factsTable, workersTable } from './worker-report';

/** Pools, and workers of one, that are shown at most. */
const LIST_LIMIT = 1000;
const NAME_WIDTH = 30;

/** Pools and how many workers they have, by id. */
export async function poolsReport(db: Database, { state }: { state?: PoolState | undefined } = {}): Promise<Report> {
  const found = (await listPools(db, { status: state, limit: LIST_LIMIT + 1 })) as PoolRecord[];
  const pools = found.slice(0, LIST_LIMIT);
  const more = found.length > pools.length;
  const head = ['POOL', 'NAME', 'STATE', 'MODE', 'REGION', 'OF', 'SERVES', 'WORKERS', 'MOST', 'WORK AT ONCE'];
  const rows = pools.map((pool) => [
    pool.pool_id,
    short(pool.name, NAME_WIDTH),
    pool.status,
    pool.mode,
    pool.region ?? '-',
    pool.tenant_id ?? 'operators',
    pool.tenants === null ? 'all' : short(pool.tenants.join(','), NAME_WIDTH),
    workersText(pool),
    mostText(pool.max_workers),
    mostText(pool.max_concurrent_work),
  ]);
  return {
    text: more ? `${table(head, rows)}\n… there are more: see those of one state with --state` : table(head, rows),
    json: { pools, more },
  };
}

/** A pool with its workers. */
export async function poolReport(db: Database, poolId: string): Promise<Report> {
  const pool = await knownPool(db, poolId);
  const workers = await listWorkers(db, { poolId, limit: LIST_LIMIT });
  const now = await ledgerTime(db);
  const facts = factsTable([
    ['pool', pool.name === pool.pool_id ? poolId : `${poolId} (${pool.name})`],
    ['state', pool.status],
    ['mode', pool.mode],
    ['managed by', pool.tenant_id === null ? 'operators' : `admins of tenant ${pool.tenant_id}`],
    ['serves', pool.tenants === null ? 'all tenants' : listText(pool.tenants)],
    ['region', pool.region ?? '-'],
    ['workers', `${workersText(pool)}; most: ${mostText(pool.max_workers)}`],
    ['work at once', `most: ${mostText(pool.max_concurrent_work)}`],
    ['new workers', pool.auto_activate ? 'active with their first heartbeat' : 'wait for `workers activate`'],
    ['unhealthy ones', pool.auto_recover ? 'active with their next good heartbeat' : 'wait for `workers activate`'],
    ['capabilities', JSON.stringify(pool.capabilities)],
    ['compatibility', pool.compatibility === null ? 'any worker fits' : JSON.stringify(pool.compatibility)],
    ['created', sinceText(pool.created_at, now)],
    ['updated', sinceText(pool.updated_at, now)],
  ]);
  return {
    text: [facts, workers.length === 0 ? 'It has no workers.' : workersTable(workers, now)].join('\n\n'),
    json: { pool, workers },
  };
}

const mostText = (most: number | null): string => (most === null || most === 0 ? 'any' : String(most));

/** `2 active, 1 draining`; those that are gone for good are left out. */
function workersText({ workers }: PoolRecord): string {
  const states = Object.entries(workers).filter(([state]) => !GONE.includes(state as WorkerState));
  return states.length === 0 ? 'none' : states.map(([state, number]) => `${number} ${state}`).join(', ');
}

const GONE: readonly WorkerState[] = ['retired', 'revoked'];

/** What a pool's new state means for those in it. */
export async function afterPoolChange(db: Database, pool: PoolRecord): Promise<string[]> {
  if (pool.status === 'active') return ['its workers claim work, and workers can be registered in it'];
  const workers = (await listWorkers(db, { poolId: pool.pool_id })).filter(({ status }) => !GONE.includes(status));
  const held = await heldWork(
    db,
    workers.map(({ worker_id }) => worker_id),
  );
  const units = new Set(held.map(({ work_id }) => work_id)).size;
  return [
    'nothing is claimed from it and nobody is registered in it; what waits for it stays queued',
    ...(units === 0
      ? []
      : [`${count(units, 'unit')} that its workers hold go on: \`workloadd pools drain ${pool.pool_id} --wait\``]),
    ...(pool.status === 'retired' && workers.length > 0
      ? [
          `that is final; it still has ${count(workers.length, 'worker')}: \`workloadd pools drain ${pool.pool_id} --retire\``,
        ]
      : []),
  ];
}
