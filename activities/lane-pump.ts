import type { Logger } from 'pino';
import { Rounds } from '../domain/rounds';
import type { Database } from '../ledger/database';
import type { LaneRef } from '../ledger/lanes';
import { unsentOf, type UnsentWake } from '../ledger/outbox';
import { dueLanes, dueLanesOf, pumpLane } from '../ledger/pump';

/** Takes hints about committed facts; may lose them. */
interface WakeSender {
  send(wake: UnsentWake): void;
}

export interface LanePumpOptions {
  db: Database;
  /** Is told of workloads whose turn came, or who gave way; without it the relay finds them. */
  wakes: WakeSender | null;
  logger: Logger;
  /** How often it looks for lanes that nobody looked at. Default 1,000 ms. */
  pollMs?: number;
}

/** Looks in a row, so that a fault cannot make it go round for ever. */
const MOST_LOOKS = 200;
const MOST_AT_ONCE = 4;
const QUEUE_LIMIT = 2_000;

/**
 * Lets workloads through whose turn came. What makes a turn come is marked in the ledger by the statement that does it; this
 * looks right after the commit, and by the poll at what was missed because a process died, or what is a matter of time.
 */
export class LanePump implements WakeSender {
  private readonly queue = new Set<string>();
  private running = 0;
  private stopped = false;
  private readonly polls = new Rounds(async () => {
    await this.poll();
    return this.pollMs;
  });

  constructor(private readonly options: LanePumpOptions) {}

  private get pollMs(): number {
    return this.options.pollMs ?? 1_000;
  }

  /** Starts the poll; without it hints are all it works on. */
  start(): void {
    this.polls.start(this.pollMs);
  }

  /** Passes a hint on, and looks at the lanes of its workload. */
  send(wake: UnsentWake): void {
    this.options.wakes?.send(wake);
    if (!wake.laned || this.stopped || this.queue.size >= QUEUE_LIMIT) return;
    this.queue.add(wake.workload_id);
    this.run();
  }

  /** Looks at the lanes of a workload that need it. `own`: its own workflow asks, and needs no wake. */
  async pumpFor(workloadId: string, own = true): Promise<void> {
    await this.pump(await dueLanesOf(this.options.db, workloadId), own ? workloadId : null);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.queue.clear();
    await this.polls.stop();
    while (this.running > 0) await new Promise((resolve) => setTimeout(resolve, 10));
  }

  private run(): void {
    while (this.running < MOST_AT_ONCE && this.queue.size > 0) {
      const [workloadId] = this.queue;
      this.queue.delete(workloadId!);
      this.running += 1;
      void this.step(() => this.pumpFor(workloadId!, false)).finally(() => {
        this.running -= 1;
        this.run();
      });
    }
  }

  private async poll(): Promise<void> {
    await this.step(async () => {
      for (const lane of await dueLanes(this.options.db, this.pollMs)) {
        if (this.stopped) return;
        await this.step(() => this.pump([lane], null));
      }
    });
  }

  /** One lane's trouble must not keep the others waiting; what is not done stays marked. */
  private async step(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const why = error instanceof Error ? error.name : 'unknown';
      this.options.logger.warn({ error: why }, 'cannot look whose turn it is; trying again');
    }
  }

  private async pump(lanes: LaneRef[], own: string | null): Promise<void> {
    const left = [...lanes];
    for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
      const lane = left.shift();
      if (!lane) return;
      const { changed, next } = await pumpLane(this.options.db, lane, own);
      for (const row of changed) this.options.wakes?.send(unsentOf(row));
      for (const each of next) if (!left.some((other) => other.lane === each.lane)) left.push(each);
    }
  }
}
