import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { workflowIdOf } from '../contracts/names';
import type { Database } from '../ledger/database';
import {
  noteCapacity,
  prune,
  putBackUnswept,
  takeUnswept,
  wakeAbandoned,
  wakeAgain,
  wakeOverdue,
  type Retention,
} from '../ledger/sweeps';

export interface SweepSettings {
  /** Time between two sweeps, milliseconds. */
  everyMs: number;
  /** An open workload's run is looked for this often, milliseconds. */
  runCheckMs: number;
  /** A deadline that its workflow did not act on for this long is brought to it again, milliseconds. */
  overdueMs: number;
  /** A workload that is queued for this long says whether its pool has a worker at all, milliseconds. */
  capacityMs: number;
  retention: Retention;
}

interface SweeperOptions {
  db: Database;
  client: Client;
  logger: Logger;
  settings: SweepSettings;
}

const CALL_DEADLINE_MS = 5_000;

/**
 * Finds what fell out of Temporal: deadlines nobody acted on, open workloads without a run; and applies the retention. It is a
 * plain timer and no Temporal Schedule, since it has to work just then when Temporal has lost its state. Any number of
 * replicas may sweep: rows are taken with SKIP LOCKED.
 */
export class Sweeper {
  private timer: NodeJS.Timeout | undefined;
  private sweeping: Promise<void> = Promise.resolve();
  private stopped = false;

  constructor(private readonly options: SweeperOptions) {}

  start(): void {
    this.timer = setTimeout(() => {
      this.sweeping = this.sweep().finally(() => {
        if (!this.stopped) this.start();
      });
    }, this.options.settings.everyMs);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.sweeping;
  }

  /** Each step on its own: what one needs and does not get must not keep the others from their work. */
  private async sweep(): Promise<void> {
    const { db, settings } = this.options;
    await this.step('overdue deadlines', () => wakeOverdue(db, settings.overdueMs));
    await this.step('commands nobody holds', () => wakeAbandoned(db, settings.overdueMs));
    await this.step('lost runs', () => this.wakeLostRuns());
    await this.step('capacity', () => noteCapacity(db, settings.capacityMs));
    await this.step('retention', () => prune(db, settings.retention));
  }

  private async step(name: string, work: () => Promise<number>): Promise<void> {
    if (this.stopped) return;
    const { logger } = this.options;
    try {
      const count = await work();
      if (count > 0) logger.info({ sweep: name, count }, 'the sweep changed something');
    } catch (error) {
      const why = error instanceof Error ? error.name : 'unknown';
      logger.warn({ sweep: name, error: why }, 'a step of the sweep failed; the next sweep tries again');
    }
  }

  private async wakeLostRuns(): Promise<number> {
    const { db, settings } = this.options;
    const left = await takeUnswept(db, settings.runCheckMs);
    const lost: string[] = [];
    try {
      while (left.length > 0 && !this.stopped) {
        if (!(await this.hasRun(left[0]!))) lost.push(left[0]!);
        left.shift();
      }
    } finally {
      await putBackUnswept(db, left);
      await wakeAgain(db, lost);
    }
    return lost.length;
  }

  private async hasRun(workloadId: string): Promise<boolean> {
    const { client } = this.options;
    try {
      const handle = client.workflow.getHandle(workflowIdOf(workloadId));
      const run = await client.connection.withDeadline(Date.now() + CALL_DEADLINE_MS, () => handle.describe());
      return run.status.name === 'RUNNING' || run.status.name === 'CONTINUED_AS_NEW';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return false;
      throw error;
    }
  }
}
