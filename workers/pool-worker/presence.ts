import type { Logger } from 'pino';
import { CHECKPOINT_SCHEMAS, EVENT_CONTRACTS, PROTOCOL_VERSION } from '../../contracts/compatibility';
import { Problem } from '../../contracts/problems';
import type { WorkerDuty, WorkerState } from '../../contracts/terminology';
import { HEARTBEAT_EVERY_MS } from '../../contracts/worker-protocol';
import { pause, withJitter } from '../../domain/backoff';
import { Rounds } from '../../domain/rounds';
import { dutyOf } from '../../domain/worker-moves';
import { ControlPlaneUnavailable, type ControlPlaneClient } from '../../executors/control-plane-client';
import type { Executor } from '../../executors/executor';

/** What the control plane says about this worker; `refused` when it does not accept its credential. */
export type Standing = WorkerState | 'refused';

/** What a worker has to do, as its last heartbeat was answered. */
export interface Orders {
  standing: Standing;
  duty: WorkerDuty;
  /** Deliveries that may be open at once. */
  slots: number;
  /** Units that it holds yet, by the ledger. */
  openWork: number;
}

/** Why a worker cannot go on. */
export interface WorkerEnd {
  /**
   * - `drained`: it was told to, and holds nothing any more
   * - `refused`: it is retired or revoked, or its credential is no good
   * - `incompatible`: it does not fit its pool
   * - `misplaced`: it belongs to another pool than the one it was started for
   */
  kind: 'drained' | 'refused' | 'incompatible' | 'misplaced';
  /** For people, with what to do about it. */
  message: string;
}

export interface PresenceOptions {
  control: ControlPlaneClient;
  poolId: string;
  version: string;
  /** Time between two heartbeats, milliseconds. Default: what the control plane asks for. */
  everyMs?: number | undefined;
  activeWork: () => readonly string[];
  /** What is offered; its problem and its restarts are told with each heartbeat. */
  executors: readonly Pick<Executor, 'kind' | 'status' | 'restartReported'>[];
  /** Whether Temporal cannot be polled; told with each heartbeat. */
  isTemporalFailing: () => boolean;
  /** Told after each heartbeat that was answered. */
  onOrders: (orders: Orders) => void;
  /** This worker can not work as it is. Told once, and nothing after it. */
  onEnd: (end: WorkerEnd) => void;
  logger: Logger;
}

const UNREACHABLE_RETRY_MS = 2_000;
/** Whoever rotates a credential may need a moment to put the new one in its place. */
const ROTATED_MS = 1_000;
/** Told as the last error while Temporal cannot be polled, whatever else is wrong: nothing is taken then. */
const TEMPORAL_FAILING = 'temporal.not_polled';
/** The most ids that a heartbeat can hold. */
const MOST_IDS = 500;

/** Tells the control plane that this worker lives, and learns from it what to do. */
export class Presence {
  private readonly rounds = new Rounds(async (stopping) => {
    return withJitter((await this.beat(stopping)) ? this.everyMs : Math.min(UNREACHABLE_RETRY_MS, this.everyMs));
  });
  /** Grows over restarts too: a credential's heartbeats never go back. */
  private sequence = Date.now();
  private askedEveryMs = HEARTBEAT_EVERY_MS;
  private unreachable = false;
  private refusedOnce = false;
  private ended = false;
  private last: Standing | null = null;

  constructor(private readonly options: PresenceOptions) {}

  start(): void {
    this.rounds.start();
  }

  stop(): Promise<void> {
    return this.rounds.stop();
  }

  private get everyMs(): number {
    return this.options.everyMs ?? this.askedEveryMs;
  }

  /** False when the control plane could not be asked. */
  private async beat(stopping: AbortSignal): Promise<boolean> {
    const { control, executors, poolId, isTemporalFailing } = this.options;
    const statuses = executors.map((executor) => executor.status());
    const restarted = executors.filter((_, index) => statuses[index]!.restarted);
    try {
      const { worker } = await control.heartbeat({
        ...this.facts(
          isTemporalFailing() ? TEMPORAL_FAILING : (statuses.find(({ reason }) => reason !== null)?.reason ?? null),
        ),
        ...(restarted.length > 0 ? { executor_restarted: true } : {}),
      });
      for (const executor of restarted) executor.restartReported();
      this.reached();
      this.refusedOnce = false;
      this.askedEveryMs = worker.heartbeat_every_ms ?? this.askedEveryMs;
      if (worker.pool_id !== poolId) this.end(misplaced(worker.worker_id, worker.pool_id, poolId));
      else {
        const {
          status: standing,
          duty = dutyOf(standing),
          max_open_deliveries: slots,
          open_work: openWork = 0,
        } = worker;
        this.stand({ standing, duty, slots, openWork });
      }
      return true;
    } catch (error) {
      if (error instanceof ControlPlaneUnavailable) return this.notReached(error.why);
      if (!(error instanceof Problem)) throw error;
      if (error.status === 429) return this.notReached(error.code);
      this.reached();
      await this.refused(error, stopping);
      return true;
    }
  }

  private facts(problem: string | null) {
    const { version, activeWork, executors } = this.options;
    const work = activeWork();
    return {
      version,
      runtime_version: process.versions.node,
      protocol_version: PROTOCOL_VERSION,
      checkpoint_schemas: [...CHECKPOINT_SCHEMAS],
      event_contracts: [...EVENT_CONTRACTS],
      current_load: work.length,
      executors: executors.map(({ kind }) => kind),
      active_work_ids: work.slice(0, MOST_IDS),
      sequence: this.sequence++,
      ...(problem === null ? {} : { last_error_code: problem }),
    };
  }

  private async refused(problem: Problem, stopping: AbortSignal): Promise<void> {
    switch (problem.code) {
      case 'heartbeat.out_of_order':
        // The clock of this host went back since an earlier process.
        this.sequence = Math.max(this.sequence, Number(problem.extra?.last ?? 0)) + 1;
        return;
      case 'worker.version_incompatible':
        return this.end({ kind: 'incompatible', message: problem.message });
      case 'auth.required':
      case 'auth.scope_required':
      case 'worker.retired':
      case 'worker.revoked':
        if (this.refusedOnce) return this.shutOut();
        // The credential is read anew for each request: it may have been rotated just now.
        this.refusedOnce = true;
        await pause(Math.min(ROTATED_MS, this.everyMs), stopping);
        if (!stopping.aborted) await this.beat(stopping);
        return;
      default:
        this.stand({ standing: 'refused', duty: 'wait', slots: 1, openWork: 0 });
    }
  }

  private shutOut(): void {
    this.stand({ standing: 'refused', duty: 'stop', slots: 1, openWork: 0 });
    this.end({
      kind: 'refused',
      message:
        'the api does not let this worker in: it is retired or revoked, or its credential is revoked, expired or wrong; ' +
        'see `workloadd workers list`, or issue another credential with `workloadd worker enroll`',
    });
  }

  /** Says, once, that this worker cannot go on or is done. */
  end(end: WorkerEnd): void {
    if (this.ended) return;
    this.ended = true;
    this.options.onEnd(end);
  }

  private stand(orders: Orders): void {
    if (orders.standing !== this.last) this.report(orders.standing);
    this.last = orders.standing;
    this.options.onOrders(orders);
    if (orders.duty === 'stop' && orders.standing !== 'refused') this.shutOut();
  }

  private report(standing: Standing): void {
    const { logger } = this.options;
    if (standing === 'active') logger.info({ standing }, 'this worker takes work');
    else if (standing === 'refused') logger.error({ standing }, 'the api does not accept this worker');
    else logger.warn({ standing }, 'this worker takes no work until its state has changed');
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

const misplaced = (workerId: string, poolId: string, wanted: string): WorkerEnd => ({
  kind: 'misplaced',
  message: `worker ${workerId} belongs to pool ${poolId}, not to ${wanted}: start it with --pool ${poolId}`,
});
