import { Problem } from '../contracts/problems';

/** Policy diffs that one process works on at once. */
const MAX_AT_ONCE = 2;

/** Lets a tenant run one policy diff at a time, and a process two: each takes as much CPU as it gets. */
export class PolicyDiffs {
  private readonly running = new Set<string>();

  /** Runs one; `policy.diff_busy` when there are too many. */
  async run<T>(tenantId: string, work: () => Promise<T>): Promise<T> {
    if (this.running.has(tenantId) || this.running.size >= MAX_AT_ONCE) {
      throw new Problem('policy.diff_busy', 'Another policy diff is under way. Try again when it is done.', {
        retryAfterMs: 5000,
      });
    }
    this.running.add(tenantId);
    try {
      return await work();
    } finally {
      this.running.delete(tenantId);
    }
  }
}
