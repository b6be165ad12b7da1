import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { workflowIdOf } from '../contracts/names';
import { WAKE_SIGNAL, type Wake } from '../contracts/workflow';
import { Rounds } from '../domain/rounds';
import { noteCapacity } from '../ledger/capacity';
import type { Database } from '../ledger/database';
import type { FleetSettings } from '../ledger/fleet-sweep';
import {
  prune,
  putBackUnswept,
  takeUnswept,
  wakeAbandoned,
  wakeAgain,
  wakeOverdue,
  type Retention,
} from '../ledger/sweeps';
import { heldByNobody } from '../ledger/unheld';
import { isOffTheQueue } from './offer-check';

export interface SweepSettings {
  /** Time between two sweeps, milliseconds. */
  everyMs: number;
  /** An open workload's run, and its place on its pool's queue, are looked for this often, milliseconds. */
  runCheckMs: number;
  /** A deadline that its workflow did not act on for this long is brought to it again, milliseconds. */
  overdueMs: number;
  /** Work whose task was taken this long ago by nobody that the ledger knows of is offered again, milliseconds. */
  unheldMs: number;
  /** A workload that is queued for this long says whether its pool has a worker at all, milliseconds. */
  capacityMs: number;
  retention: Retention;
  /** Of the workers, from a timer of its own. */
  fleet: FleetSettings & { everyMs: number };
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
  private readonly rounds = new Rounds((stopping) => this.sweep(stopping));

  constructor(private readonly options: SweeperOptions) {}

  start(): void {
    this.rounds.start(this.options.settings.everyMs);
  }

  stop(): Promise<void> {
    return this.rounds.stop();
  }

  /** Each step on its own: what one needs and does not get must not keep the others from their work. */
  private async sweep(stopping: AbortSignal): Promise<number> {
    const { db, logger, settings } = this.options;
    const step = (name: string, work: () => Promise<number>): Promise<void> => sweepStep(name, work, logger, stopping);
    await step('overdue deadlines', () => wakeOverdue(db, settings.overdueMs));
    await step('commands nobody holds', () => wakeAbandoned(db, settings.overdueMs));
    await step('lost runs', () => this.wakeLostRuns(stopping));
    await step('capacity', () => noteCapacity(db, settings.capacityMs));
    await step('retention', () => prune(db, settings.retention));
    return settings.everyMs;
  }

  private async wakeLostRuns(stopping: AbortSignal): Promise<number> {
    const { db, settings } = this.options;
    const left = await takeUnswept(db, settings.runCheckMs);
    const lost: string[] = [];
    const taken: string[] = [];
    try {
      while (left.length > 0 && !stopping.aborted) {
        const run = await this.lookAt(left[0]!);
        if (run === 'none') lost.push(left[0]!);
        if (run === 'off its queue') taken.push(left[0]!);
        left.shift();
      }
    } finally {
      await putBackUnswept(db, left);
      await wakeAgain(db, lost);
    }
    return lost.length + (await this.offerAgain(taken));
  }

  private async lookAt(workloadId: string): Promise<'none' | 'off its queue' | 'fine'> {
    const { client, settings } = this.options;
    try {
      const handle = client.workflow.getHandle(workflowIdOf(workloadId));
      const run = await client.connection.withDeadline(Date.now() + CALL_DEADLINE_MS, () => handle.describe());
      if (run.status.name === 'CONTINUED_AS_NEW') return 'fine';
      if (run.status.name !== 'RUNNING') return 'none';
      return isOffTheQueue(run, settings.unheldMs) ? 'off its queue' : 'fine';
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return 'none';
      throw error;
    }
  }

  /** Whoever can poll a queue can take work from it and keep it; only the ledger knows who has it. */
  private async offerAgain(workloadIds: readonly string[]): Promise<number> {
    const { client, db, settings } = this.options;
    const unheld = await heldByNobody(db, workloadIds, settings.unheldMs);
    const wake: Wake = { state: 'queued', wait_ms: null, offer_again: true };
    for (const id of unheld) {
      const handle = client.workflow.getHandle(workflowIdOf(id));
      await client.connection.withDeadline(Date.now() + CALL_DEADLINE_MS, () => handle.signal(WAKE_SIGNAL, wake));
    }
    return unheld.length;
  }
}

/** Does a step of a sweep on its own, and says what came of it. */
export async function sweepStep(
  name: string,
  work: () => Promise<number>,
  logger: Logger,
  stopping: AbortSignal,
): Promise<void> {
  if (stopping.aborted) return;
  try {
    const count = await work();
    if (count > 0) logger.info({ sweep: name, count }, 'the sweep changed something');
  } catch (error) {
    const why = error instanceof Error ? error.name : 'unknown';
    logger.warn({ sweep: name, error: why }, 'a step of the sweep failed; the next sweep tries again');
  }
}
