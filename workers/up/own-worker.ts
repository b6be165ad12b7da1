import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { Problem } from '../../contracts/problems';
import { Secret } from '../../contracts/secret';
import type { Database } from '../../ledger/database';
import { enrolWorker } from '../../ledger/enrol-worker';
import { listWorkers } from '../../ledger/worker-list';
import { authenticateWorker, credentialDaysLeft } from '../../ledger/workers';
import { writeSecretFile } from '../secret-file';

export interface OwnWorkerOptions {
  db: Database;
  dataDir: string;
  workerId: string;
  poolId: string;
  maxOpenDeliveries: number;
  logger: Logger;
}

/** A credential is replaced when it has less than this left of its 90 days. */
const RENEW_BELOW_DAYS = 30;
const CHECK_EVERY_MS = 12 * 60 * 60 * 1000;

/** The worker that `up` runs itself: enrolled by it, its credential in the data dir. */
export class OwnWorker {
  private timer: NodeJS.Timeout | undefined;

  private constructor(
    private readonly options: OwnWorkerOptions,
    private current: Secret,
  ) {}

  /** Enrols the worker where needed. Null when an operator has retired or revoked it, which is not undone here. */
  static async enrol(options: OwnWorkerOptions): Promise<OwnWorker | null> {
    try {
      const own = new OwnWorker(options, await validCredential(options));
      own.timer = setInterval(() => void own.renew(), CHECK_EVERY_MS);
      own.timer.unref();
      return own;
    } catch (error) {
      if (!(error instanceof Problem) || !/^worker\.(retired|revoked)$/.test(error.code)) throw error;
      options.logger.warn(
        { worker_id: options.workerId, code: error.code },
        'the worker of this data dir may not work',
      );
      return null;
    }
  }

  readonly credential = (): Secret => this.current;

  stop(): void {
    clearInterval(this.timer);
  }

  private async renew(): Promise<void> {
    try {
      this.current = await validCredential(this.options);
    } catch (error) {
      this.options.logger.warn(
        { code: error instanceof Problem ? error.code : 'unknown' },
        'the credential was not renewed',
      );
    }
  }
}

async function validCredential(options: OwnWorkerOptions): Promise<Secret> {
  const { db, dataDir, workerId, poolId, maxOpenDeliveries } = options;
  const file = path.join(dataDir, 'worker.credential');
  const stored = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
  const principal = await authenticateWorker(db, stored);
  const worker = principal && (await listWorkers(db, { workerId: principal.workerId }))[0];
  const isAsWanted =
    worker?.worker_id === workerId && worker.pool_id === poolId && worker.max_open_deliveries === maxOpenDeliveries;
  if (principal && isAsWanted && (await credentialDaysLeft(db, principal.credentialId)) > RENEW_BELOW_DAYS) {
    return new Secret(stored);
  }
  const { plaintext } = await enrolWorker(db, { workerId, poolId, maxOpenDeliveries, actor: 'up' });
  writeSecretFile(file, plaintext);
  return plaintext;
}
