import type { WorkloadView } from '../contracts/workflow';
import { debugPoint } from '../domain/debug-point';
import type { Fact } from '../domain/workload-progress';
import { isAwaitingExecutor } from '../domain/workload-state';
import { applyFact, type Change } from './change';
import { commandRunOf, viewWith, type CommandRun } from './command-runs';
import type { Database } from './database';
import { markSuspect } from './suspect-slot';
import { noteWorkerFailure } from './worker-failures';
import { lockWorkload, type WorkloadRow } from './workload-row';

/**
 * Brings a workload up to the ledger's clock: applies each deadline that is due, ends the command that nobody holds any more, and
 * returns where it stands. What a workflow calls after every wake and every timer. Null when there is no such workload.
 */
export async function settle(db: Database, workloadId: string, suspectBackoffMs: number): Promise<WorkloadView | null> {
  let applied = false;
  const view = await db.transaction(async (tx) => {
    const locked = await lockWorkload(tx, workloadId);
    if (!locked) return null;
    for (let row = locked; ;) {
      const run = await commandRunOf(tx, row);
      const due = dueFact(row, run);
      if (due?.type === 'lease_expired') await noteWorkerFailure(tx, workloadId, 'command_lost');
      const change: Change | null = due && (await applyFact(tx, row, due, { actor: 'deadline', wake: false }));
      if (!change || change.row === row) return viewWith(row, run);
      if (isAwaitingExecutor(row.state) && change.path.includes('lost'))
        await markSuspect(tx, workloadId, row.delivery, suspectBackoffMs);
      applied = true;
      debugPoint('deadline-uncommitted');
      row = change.row;
    }
  });
  if (applied) debugPoint('deadline-committed');
  return view;
}

/** What the ledger's clock says has happened; null when nothing has. */
function dueFact(row: WorkloadRow, run: CommandRun | null): Fact | null {
  if (row.closed) return null;
  if (row.deadline_at !== null && row.deadline_at <= row.now) return { type: 'deadline' };
  return run !== null && run.leaseMs === 0 && !run.resumable ? { type: 'lease_expired' } : null;
}
