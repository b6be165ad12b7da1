import type { Logger } from 'pino';
import { beginSealPass, sealBatch } from '../ledger/audit-seal';
import { Rounds } from '../domain/rounds';
import type { Database } from '../ledger/database';

interface AuditSealerOptions {
  db: Database;
  logger: Logger;
  /** Time between two passes, milliseconds. */
  everyMs: number;
  /** Rows in one transaction. Default 2,000. */
  batch?: number;
}

const BATCH = 2_000;

/**
 * Seals audit rows into their hash chains, some seconds after their commit, so that nobody who writes one waits for it. Any
 * number of replicas may run: one at a time seals, the others find nothing to do. Works without Temporal.
 */
export class AuditSealer {
  private readonly rounds = new Rounds(async (stopping) => {
    await this.seal(stopping);
    return this.options.everyMs;
  });
  private failing = false;

  constructor(private readonly options: AuditSealerOptions) {}

  start(): void {
    this.rounds.start(this.options.everyMs);
  }

  stop(): Promise<void> {
    return this.rounds.stop();
  }

  private async seal(stopping: AbortSignal): Promise<void> {
    const { logger } = this.options;
    try {
      const sealed = await this.pass(stopping);
      if (this.failing) logger.info({ sealed }, 'the audit is sealed again');
      this.failing = false;
    } catch (error) {
      const why = error instanceof Error ? error.name : 'unknown';
      if (!this.failing) logger.warn({ error: why }, 'the audit cannot be sealed; it is tried again');
      this.failing = true;
    }
  }

  private async pass(stopping: AbortSignal): Promise<number> {
    const { db, batch = BATCH } = this.options;
    const pass = await beginSealPass(db);
    let sealed = 0;
    while (!stopping.aborted) {
      const done = await sealBatch(db, pass, batch);
      sealed += done.sealed;
      if (done.outcome !== 'more') break;
    }
    return sealed;
  }
}
