import type { ExecutionHandle } from '../contracts/execution';
import { parseRunKey, runKeyOf } from '../contracts/names';
import { livesByItsLease, type WorkloadState } from '../contracts/terminology';
import type { WorkloadView } from '../contracts/workflow';
import { isResumable } from '../domain/execution/command-lease';
import { isAwaitingExecutor } from '../domain/workload-state';
import type { Queryable } from './database';
import { viewOf, type WorkloadRow } from './workload-row';

/** The run of a command that the ledger waits for. */
export interface CommandRun {
  /** Milliseconds that its worker's lease lives yet; 0 when nobody holds it. */
  leaseMs: number;
  /** Its end can be waited for by another worker. */
  resumable: boolean;
  target: ExecutionHandle | null;
}

/** The command of a workload that is under way; null when none is. */
export async function commandRunOf(tx: Queryable, row: WorkloadRow): Promise<CommandRun | null> {
  if (!livesByItsLease(row.executor) || !isAwaitingExecutor(row.state)) return null;
  const [run] = await tx.query<{ target: string | null; expires_at: Date | null }>(
    `SELECT d.target, l.expires_at FROM deliveries d
     LEFT JOIN leases l ON l.work_id = d.workload_id AND l.delivery = d.number AND l.closed_at IS NULL
     WHERE d.workload_id = $1 AND d.number = $2`,
    [row.workload_id, row.delivery],
  );
  const target = run?.target == null ? null : (JSON.parse(run.target) as ExecutionHandle);
  const leaseMs = run?.expires_at == null ? 0 : Math.max(0, run.expires_at.getTime() - row.now.getTime());
  return { leaseMs, resumable: isResumable(row.executor, target), target };
}

/** Where a workload stands, with what the lease of its command says; `run` as {@link commandRunOf} gives it. */
export function viewWith(row: WorkloadRow, run: CommandRun | null): WorkloadView {
  const view = viewOf(row);
  if (run === null) return view;
  return run.leaseMs === 0 && run.resumable ? { ...view, next: 'offer' } : { ...view, lease_ms: run.leaseMs };
}

/**
 * Of these run keys, those that nobody waits for any more. A key that is none of a delivery's here is not judged: what has it was
 * started by somebody else, e.g. another service on the same host.
 */
export async function runsOver(db: Queryable, runKeys: readonly string[]): Promise<string[]> {
  const asked = runKeys.flatMap((key) => {
    const run = parseRunKey(key);
    return run ? [run] : [];
  });
  const known = await db.query<{ workload_id: string; number: number; delivery: number; state: WorkloadState }>(
    `SELECT d.workload_id, d.number, w.delivery, w.state FROM deliveries d JOIN workloads w USING (workload_id)
     WHERE (d.workload_id, d.number) IN (SELECT * FROM unnest($1::text[], $2::int[]))`,
    [asked.map(({ workloadId }) => workloadId), asked.map(({ number }) => number)],
  );
  const over = known.filter((row) => row.number !== row.delivery || !isAwaitingExecutor(row.state));
  const keys = new Set(over.map((row) => runKeyOf(row.workload_id, row.number)));
  return runKeys.filter((key) => keys.has(key));
}
