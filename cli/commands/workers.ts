import { trustAgain } from '../../ledger/suspect-slot';
import { enrolWorker } from '../../ledger/enrol-worker';
import type { ConfigOf } from '../config';
import { knownWorker } from '../fleet/known';
import { workerReport, workersReport, type WorkerChoice } from '../fleet/worker-report';
import { withLedger } from '../ledger-access';
import { showReport, type ReportArguments } from '../report';
import { handOut, requireOutput, type SecretOutput } from '../secret-output';

/** `workloadd worker enroll` */
export async function runWorkerEnroll(config: ConfigOf<'worker enroll'>, output: SecretOutput): Promise<void> {
  requireOutput(output);
  const { workerId, pool: poolId, maxOpenDeliveries } = config;
  const { plaintext } = await withLedger(config, (db) =>
    enrolWorker(db, { workerId, poolId, actor: 'cli', ...(maxOpenDeliveries !== undefined && { maxOpenDeliveries }) }),
  );
  handOut(plaintext, output, `the credential of worker ${workerId} in pool ${poolId}`);
}

/** Arguments of `workers list`. */
export type WorkersListArguments = ReportArguments & WorkerChoice;

/** `workloadd workers list` */
export const runWorkersList = (config: ConfigOf<'workers list'>, args: WorkersListArguments): Promise<void> =>
  showReport(config, args, (db) => workersReport(db, args));

/** `workloadd workers show` */
export const runWorkerShow = (
  config: ConfigOf<'workers show'>,
  workerId: string,
  args: ReportArguments,
): Promise<void> => showReport(config, args, (db) => workerReport(db, workerId));

/** `workloadd workers clear-suspect` */
export async function runClearSuspect(
  config: ConfigOf<'workers clear-suspect'>,
  workerId: string,
  reason: string,
): Promise<void> {
  const outcome = await withLedger(config, async (db) => {
    await knownWorker(db, workerId);
    return trustAgain(db, workerId, reason, 'cli');
  });
  console.log(outcome.cleared ? `worker ${workerId} is trusted again` : `worker ${workerId} was not suspect`);
  if (outcome.freed > 0) console.log(`slots of cancelled workloads that are free again: ${outcome.freed}`);
}
