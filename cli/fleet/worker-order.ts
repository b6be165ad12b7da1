import type { WorkerRecord } from '../../contracts/managed-workers';
import { formatDuration } from '../../contracts/duration';
import type { WorkerOrder } from '../../domain/worker-moves';
import type { Database } from '../../ledger/database';
import { heldWork, type HeldWork } from '../../ledger/held-work';
import { orderWorker } from '../../ledger/worker-orders';
import type { Report } from '../report';
import { knownPool, knownWorker, ledgerTime } from './known';
import { count } from './texts';

/** How a worker is ordered. */
export interface OrderArguments {
  reason?: string | undefined;
  /** Retires it although it holds live leases. */
  force?: boolean | undefined;
}

/** Orders a worker; says what it came to and what happens next. */
export async function giveOrder(
  db: Database,
  workerId: string,
  order: WorkerOrder,
  { reason, force }: OrderArguments = {},
): Promise<Report> {
  await knownWorker(db, workerId);
  const { previous, changed } = await db.transaction((tx) =>
    orderWorker(tx, workerId, order, { actor: 'cli', reason, force }),
  );
  const worker = await knownWorker(db, workerId);
  const held = await heldWork(db, [workerId]);
  const done = changed ? `is ${worker.status}; it was ${previous}` : `was ${worker.status} already`;
  const next = await NEXT[order](db, worker, held, previous);
  return {
    json: { worker, previous, changed, held, next },
    text: [`worker ${workerId} ${done}`, ...next].join('\n'),
  };
}

type Next = (
  db: Database,
  worker: WorkerRecord,
  held: readonly HeldWork[],
  previous: WorkerRecord['status'],
) => Promise<string[]>;

const SEE = 'see `workloadd workers list --watch`';
/** How soon a process learns what it has to do. */
const SOON = 'with its next heartbeat';

const begins: Next = async (db, { worker_id, pool_id, last_heartbeat_at }, _, previous) => {
  const pool = await knownPool(db, pool_id);
  if (pool.status !== 'active') return [`it gets nothing yet: pool ${pool_id} is ${pool.status}`];
  if (previous === 'draining')
    return [`a process that has drained has ended: start it again; one that runs takes work ${SOON}`];
  if (last_heartbeat_at !== null) return [`a process that runs takes work ${SOON}`];
  return [`it was never heard of: start it with \`workloadd worker --worker-id ${worker_id} --pool ${pool_id}\``];
};

/** What happens after each order. */
const NEXT: Record<WorkerOrder, Next> = {
  activate: begins,
  resume: begins,
  pause: async (db, _, held) => [
    `it takes nothing new, and renews nothing from its next heartbeat on`,
    ...(await leftToRunOut(db, held)),
  ],
  drain: (_, __, held) =>
    Promise.resolve([
      held.length === 0
        ? `it takes nothing new and holds nothing: its process ends with 0 ${SOON}`
        : `it takes nothing new; ${heldText(held)} still held, then its process ends with 0; ${SEE}`,
    ]),
  retire: async (db, _, held) => [
    'its credentials open nothing any more; that is final: enrol another id',
    ...(await leftToRunOut(db, held)),
  ],
  revoke: async (db, _, held) => [
    'its credentials open nothing from the next request on, and its process ends what it does; that is final: enrol another id',
    ...(await leftToRunOut(db, held)),
  ],
};

/** What becomes of work that its worker neither renews nor ends any more. */
async function leftToRunOut(db: Database, held: readonly HeldWork[]): Promise<string[]> {
  const leases = held.flatMap(({ lease_until }) => (lease_until === null ? [] : [lease_until.getTime()]));
  const open = held.filter(({ slot_until }) => slot_until !== null).length;
  const left = formatDuration(Math.max(0, ...leases) - (await ledgerTime(db)).getTime());
  return [
    ...(leases.length === 0
      ? []
      : [`held yet: ${count(leases.length, 'lease')}, the last of which runs out in ${left}; ${SEE}`]),
    ...(open === 0
      ? []
      : [
          `${count(open, 'delivery', 'deliveries')} may go on: what OpenCrow has got is not called back; cancel its workload`,
        ]),
  ];
}

/** How many units these are, a unit with two deliveries counted once. */
export const heldText = (held: readonly HeldWork[]): string =>
  count(new Set(held.map(({ work_id }) => work_id)).size, 'unit');
