import type { Logger } from 'pino';
import { beginSealPass, sealBatch } from '../ledger/audit-seal';
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
  private timer: NodeJS.Timeout | undefined;
  private sealing: Promise<void> = Promise.resolve();
  private stopped = false;
  private failing = false;

  constructor(private readonly options: AuditSealerOptions) {}

  start(): void {
    this.timer = setTimeout(() => {
      this.sealing = this.seal().finally(() => {
        if (!this.stopped) this.start();
      });
    }, this.options.everyMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.sealing;
  }

  private async seal(): Promise<void> {
    const { logger } = this.options;
    try {
      const sealed = await this.pass();
      if (this.failing) logger.info({ sealed }, 'the audit is sealed again');
      this.failing = false;
    } catch (error) {
      const why = error instanceof Error ? error.name : 'unknown';
      if (!this.failing) logger.warn({ error: why }, 'the audit cannot be sealed; it is tried again');
      this.failing = true;
    }
  }

  private async pass(): Promise<number> {
    const { db, batch = BATCH } = this.options;
    const pass = await beginSealPass(db);
    let sealed = 0;
    while (!this.stopped) {
      const done = await sealBatch(db, pass, batch);
      sealed += done.sealed;
      if (done.outcome !== 'more') break;
    }
    return sealed;
  }
}
