import { parseDuration } from '../../contracts/duration';
import { Problem } from '../../contracts/problems';
import type { WorkerState } from '../../contracts/terminology';
import type { WorkerOrder } from '../../domain/worker-moves';
import type { Database } from '../../ledger/database';
import { listWorkers } from '../../ledger/worker-list';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { knownPool } from '../fleet/known';
import { waitUntilIdle } from '../fleet/wait-until-idle';
import { giveOrder } from '../fleet/worker-order';
import { Interrupts } from '../interrupts';
import { withLedger } from '../ledger-access';
import { print, type Report } from '../report';
import { refuseBadReason } from './worker-orders';

/** Arguments of `workers drain` and `pools drain`. */
export interface DrainArguments {
  reason?: string;
  /** Until nothing is held. */
  wait?: boolean;
  /** For how long at most. */
  timeout: string;
  /** Retires what holds nothing any more; waits for that. */
  retire?: boolean;
  json?: boolean;
}

/** `workloadd workers drain` */
export async function runWorkerDrain(
  config: ConfigOf<'workers drain'>,
  workerId: string,
  args: DrainArguments,
): Promise<void> {
  await withLedger(config, async (db) => {
    const [report] = await drain(args, [workerId], (order) => giveOrder(db, workerId, order, args), db);
    if (args.json) print(report!, true);
  });
}

/** Workers that work, or may be told to again without an operator. */
const DRAINABLE: readonly WorkerState[] = ['active', 'unhealthy', 'draining'];

/** `workloadd pools drain` */
export async function runPoolDrain(
  config: ConfigOf<'pools drain'>,
  poolId: string,
  args: DrainArguments,
): Promise<void> {
  await withLedger(config, async (db) => {
    await knownPool(db, poolId);
    const workers = (await listWorkers(db, { poolId })).filter(({ status }) => DRAINABLE.includes(status));
    const ids = workers.map(({ worker_id }) => worker_id);
    const reports = await drain(
      args,
      ids,
      (order, workerId) => unlessMoved(giveOrder(db, workerId, order, args), workerId),
      db,
    );
    if (args.json) print({ text: '', json: { pool_id: poolId, orders: reports.map(({ json }) => json) } }, true);
    else if (ids.length === 0) console.log(`pool ${poolId} has no worker that takes work`);
  });
}

/** A worker that somebody else moved out of the way meanwhile does not keep the others. */
async function unlessMoved(order: Promise<Report>, workerId: string): Promise<Report> {
  return order.catch((error: unknown) => {
    if (!(error instanceof Problem && error.code === 'worker.state_conflict')) throw error;
    const why = error.message;
    return { text: `worker ${workerId}: ${why}`, json: { worker_id: workerId, refused: why } };
  });
}

/** Gives the order to each, waits for them if asked to, and retires them if asked to; what the last orders came to. */
async function drain(
  args: DrainArguments,
  workerIds: readonly string[],
  give: (order: WorkerOrder, workerId: string) => Promise<Report>,
  db: Database,
): Promise<Report[]> {
  refuseBadReason(args.reason);
  const timeoutMs = parseDuration(args.timeout);
  if (timeoutMs === null) throw new CommandFailed('--timeout must be a duration such as 10m', EXIT.usage);
  const orderAll = async (order: WorkerOrder): Promise<Report[]> => {
    const reports: Report[] = [];
    for (const workerId of workerIds) {
      const report = await give(order, workerId);
      if (!args.json) print(report);
      reports.push(report);
    }
    return reports;
  };
  const drained = await orderAll('drain');
  if (!args.wait && !args.retire) return drained;
  await waitFor(db, workerIds, timeoutMs);
  if (!args.json && workerIds.length > 0) console.log('nothing is held any more');
  return args.retire ? orderAll('retire') : drained;
}

async function waitFor(db: Database, workerIds: readonly string[], timeoutMs: number): Promise<void> {
  const interrupts = new Interrupts();
  void interrupts.second.then(() => process.exit(EXIT.forced));
  const onProgress = (line: string): void => console.error(line);
  try {
    await waitUntilIdle(db, workerIds, { timeoutMs, signal: interrupts.signal, onProgress });
  } finally {
    interrupts.stop();
  }
}
