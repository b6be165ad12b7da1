import type { WorkerRecord } from '../../contracts/managed-workers';
import type { PoolRecord } from '../../contracts/worker-pools';
import type { Queryable } from '../../ledger/database';
import { listPools } from '../../ledger/pools';
import { listWorkers } from '../../ledger/worker-list';
import { CommandFailed } from '../exit-codes';

/** A worker by its id; says where ids are listed when there is none. */
export async function knownWorker(db: Queryable, workerId: string): Promise<WorkerRecord> {
  const [worker] = await listWorkers(db, { workerId });
  if (worker) return worker;
  throw new CommandFailed(`there is no worker ${JSON.stringify(workerId)}: see \`workloadd workers list\``);
}

/** A pool by its id; says where ids are listed when there is none. */
export async function knownPool(db: Queryable, poolId: string): Promise<PoolRecord> {
  const [pool] = await listPools(db, { poolId });
  if (pool) return pool as PoolRecord;
  throw new CommandFailed(`there is no pool ${JSON.stringify(poolId)}: see \`workloadd pools list\``);
}

/** The ledger's clock, by which its times are told. */
export async function ledgerTime(db: Queryable): Promise<Date> {
  const [row] = await db.query<{ now: Date }>('SELECT clock_timestamp() AS now');
  return row!.now;
}
