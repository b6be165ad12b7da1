import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { workflowIdOf } from '../contracts/names';
import type { Database } from '../ledger/database';
import { noteCapacity, prune, takeUnswept, wakeAgain, wakeOverdue, type Retention } from '../ledger/sweeps';

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

  private async sweep(): Promise<void> {
    const { db, logger, settings } = this.options;
    try {
      const overdue = await wakeOverdue(db, settings.overdueMs);
      const lost = await this.findLostRuns(await takeUnswept(db, settings.runCheckMs));
      await wakeAgain(db, lost);
      await noteCapacity(db, settings.capacityMs);
      await prune(db, settings.retention);
      if (overdue + lost.length > 0)
        logger.warn({ overdue, lost_runs: lost.length }, 'workloads were woken by the sweep');
    } catch (error) {
      logger.warn({ error: error instanceof Error ? error.name : 'unknown' }, 'a sweep failed; the next one goes on');
    }
  }

  private async findLostRuns(workloadIds: string[]): Promise<string[]> {
    const lost: string[] = [];
    for (const id of workloadIds) {
      if (this.stopped) break;
      if (!(await this.hasRun(id))) lost.push(id);
    }
    return lost;
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
