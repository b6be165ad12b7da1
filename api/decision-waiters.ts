import { setTimeout as sleep } from 'node:timers/promises';
import type { DecisionRecord } from '../contracts/workload-record';
import type { WorkloadState } from '../contracts/terminology';
import type { Queryable } from '../ledger/database';
import { decisionOfWorkload } from '../ledger/queries';

const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 200;

/** A workload and how it was decided, if it was. */
export interface Decided {
  state: WorkloadState;
  decision: DecisionRecord | null;
}

/** Requests that wait for a decision. Their number is bounded, and all of them end when the API stops. */
export class DecisionWaiters {
  private waiting = 0;
  private stopped = false;

  constructor(
    private readonly db: Queryable,
    private readonly limit: number,
  ) {}

  /**
   * Looks every 10 to 200 ms whether the event is decided, until it is, `waitMs` are over, the caller is gone (`gone`) or the
   * API stops. Returns where the workload stands then; at once where too many wait already.
   */
  async wait(tenantId: string, workloadId: string, waitMs: number, gone: AbortSignal): Promise<Decided | null> {
    const look = (): Promise<Decided | null> => decisionOfWorkload(this.db, tenantId, workloadId);
    if (this.waiting >= this.limit) return look();
    this.waiting += 1;
    try {
      const until = performance.now() + waitMs;
      let pauseMs = FIRST_PAUSE_MS;
      for (;;) {
        const seen = await look();
        const left = until - performance.now();
        if (seen === null || seen.decision !== null || left <= 0 || gone.aborted || this.stopped) return seen;
        await sleep(Math.min(pauseMs, left));
        pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
      }
    } finally {
      this.waiting -= 1;
    }
  }

  /** Lets everybody who waits go on with what is known. */
  stop(): void {
    this.stopped = true;
  }
}
