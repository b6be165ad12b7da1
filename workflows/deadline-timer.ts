import { CancellationScope, sleep } from '@temporalio/workflow';

/**
 * One timer for a workload's next deadline. A running timer that fires no later than asked is kept: it only means one more
 * look into the ledger, and saves two history events for each change of the deadline.
 */
export class DeadlineTimer {
  passed = false;
  private running: { scope: CancellationScope; at: number } | null = null;

  /** Waits for `ms` from now; null stops waiting. Resets `passed`. */
  set(ms: number | null): void {
    this.passed = false;
    if (ms === null) {
      this.running?.scope.cancel();
      this.running = null;
      return;
    }
    const at = Date.now() + ms;
    if (this.running !== null && this.running.at <= at) return;
    this.running?.scope.cancel();
    this.start(ms, at);
  }

  private start(ms: number, at: number): void {
    const scope = new CancellationScope();
    const running = { scope, at };
    this.running = running;
    void scope
      .run(() => sleep(ms))
      .then(
        () => {
          if (this.running !== running) return;
          this.running = null;
          this.passed = true;
        },
        () => undefined,
      );
  }
}
