import { trustAgain } from '../../ledger/suspect-slot';
import { enrolWorker } from '../../ledger/enrol-worker';
import { listWorkers } from '../../ledger/worker-list';
import type { ConfigOf } from '../config';
import { CommandFailed } from '../exit-codes';
import { withLedger } from '../ledger-access';
import { handOut, requireOutput, type SecretOutput } from '../secret-output';
import { table } from '../table';

/** `workloadd worker enroll` */
export async function runWorkerEnroll(config: ConfigOf<'worker enroll'>, output: SecretOutput): Promise<void> {
  requireOutput(output);
  const { workerId, pool: poolId, maxOpenDeliveries } = config;
  const { plaintext } = await withLedger(config, (db) =>
    enrolWorker(db, { workerId, poolId, actor: 'cli', ...(maxOpenDeliveries !== undefined && { maxOpenDeliveries }) }),
  );
  handOut(plaintext, output, `the credential of worker ${workerId} in pool ${poolId}`);
}

/** `workloadd workers list` */
export async function runWorkersList(config: ConfigOf<'workers list'>): Promise<void> {
  const workers = await withLedger(config, (db) => listWorkers(db));
  const rows = workers.map((worker) => [
    worker.worker_id,
    worker.pool_id,
    worker.status,
    (worker.executors ?? ['opencrow']).join(','),
    `${worker.open_deliveries}/${worker.max_open_deliveries}`,
    worker.last_heartbeat_at ?? 'never',
    worker.suspect_since ? `since ${worker.suspect_since}` : '-',
    worker.version ?? '-',
  ]);
  console.log(table(['WORKER', 'POOL', 'STATE', 'OFFERS', 'OPEN', 'HEARTBEAT', 'SUSPECT', 'VERSION'], rows));
}

/** `workloadd workers clear-suspect` */
export async function runClearSuspect(
  config: ConfigOf<'workers clear-suspect'>,
  workerId: string,
  reason: string,
): Promise<void> {
  const outcome = await withLedger(config, async (db) => {
    const known = (await listWorkers(db, { workerId })).length > 0;
    return known ? trustAgain(db, workerId, reason, 'cli') : null;
  });
  if (!outcome)
    throw new CommandFailed(`there is no worker ${JSON.stringify(workerId)}: see \`workloadd workers list\``);
  console.log(outcome.cleared ? `worker ${workerId} is trusted again` : `worker ${workerId} was not suspect`);
  if (outcome.freed > 0) console.log(`slots of cancelled workloads that are free again: ${outcome.freed}`);
}
