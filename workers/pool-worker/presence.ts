import type { Logger } from 'pino';
import { Problem } from '../../contracts/problems';
import type { WorkerState } from '../../contracts/terminology';
import { withJitter } from '../../domain/backoff';
import { ControlPlaneUnavailable, type ControlPlaneClient } from '../../executors/control-plane-client';
import type { Executor } from '../../executors/executor';
import { Rounds } from '../../domain/rounds';

/** What the control plane says about this worker; `refused` when it does not accept its credential. */
export type Standing = WorkerState | 'refused';

export interface PresenceOptions {
  control: ControlPlaneClient;
  poolId: string;
  version: string;
  /** Time between two heartbeats, milliseconds. */
  everyMs: number;
  activeWork: () => readonly string[];
  /** What is offered; its problem and its restarts are told with each heartbeat. */
  executors: readonly Pick<Executor, 'kind' | 'status' | 'restartReported'>[];
  /** Told after each heartbeat; `slots` is how many deliveries may be open at once. */
  onStanding: (standing: Standing, slots: number) => void;
  /** This worker can never work as it was started. */
  onMisplaced: (error: Error) => void;
  logger: Logger;
}

const UNREACHABLE_RETRY_MS = 2_000;

/** Tells the control plane that this worker lives, and learns from it whether it may work. */
export class Presence {
  private readonly rounds = new Rounds(async () => {
    const { everyMs } = this.options;
    return withJitter((await this.beat()) ? everyMs : Math.min(UNREACHABLE_RETRY_MS, everyMs));
  });
  private sequence = 0;
  private unreachable = false;
  private last: Standing | null = null;

  constructor(private readonly options: PresenceOptions) {}

  start(): void {
    this.rounds.start();
  }

  stop(): Promise<void> {
    return this.rounds.stop();
  }

  /** False when the control plane could not be asked. */
  private async beat(): Promise<boolean> {
    const { control, version, activeWork, executors } = this.options;
    const work = activeWork();
    const statuses = executors.map((executor) => executor.status());
    const problem = statuses.find(({ reason }) => reason !== null)?.reason ?? null;
    const restarted = executors.filter((_, index) => statuses[index]!.restarted);
    try {
      const { worker } = await control.heartbeat({
        version,
        current_load: work.length,
        executors: executors.map(({ kind }) => kind),
        active_work_ids: [...work],
        sequence: this.sequence++,
        ...(problem === null ? {} : { last_error_code: problem }),
        ...(restarted.length > 0 ? { executor_restarted: true } : {}),
      });
      for (const executor of restarted) executor.restartReported();
      this.reached();
      if (worker.pool_id === this.options.poolId) this.stand(worker.status, worker.max_open_deliveries);
      else this.options.onMisplaced(misplaced(worker.worker_id, worker.pool_id, this.options.poolId));
      return true;
    } catch (error) {
      if (error instanceof ControlPlaneUnavailable) return this.notReached(error.why);
      if (!(error instanceof Problem)) throw error;
      if (error.status === 429) return this.notReached(error.code);
      this.reached();
      this.stand(standingOf(error));
      return true;
    }
  }

  private stand(standing: Standing, slots = 1): void {
    if (standing !== this.last) this.report(standing);
    this.last = standing;
    this.options.onStanding(standing, slots);
  }

  private report(standing: Standing): void {
    const { logger } = this.options;
    if (standing === 'active') logger.info({ standing }, 'this worker takes work');
    else if (standing === 'refused') {
      logger.error(
        { standing },
        'the api does not accept this credential: issue another one with `workloadd worker enroll`',
      );
    } else logger.warn({ standing }, 'this worker takes no work until its state has changed');
  }

  private reached(): void {
    if (this.unreachable) this.options.logger.info('the api answers again');
    this.unreachable = false;
  }

  private notReached(why: string): boolean {
    if (!this.unreachable) this.options.logger.warn({ why }, 'the api cannot be reached; trying again');
    this.unreachable = true;
    return false;
  }
}

function standingOf({ code }: Problem): Standing {
  const state = /^worker\.(pending|draining|paused|unhealthy|retired|revoked)$/.exec(code)?.[1];
  return (state as WorkerState | undefined) ?? 'refused';
}

const misplaced = (workerId: string, poolId: string, wanted: string): Error =>
  new Error(`worker ${workerId} belongs to pool ${poolId}, not to ${wanted}: start it with --pool ${poolId}`);
