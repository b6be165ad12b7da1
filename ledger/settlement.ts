import type { WorkloadView } from '../contracts/workflow';
import { debugPoint } from '../domain/debug-point';
import type { Fact } from '../domain/workload-progress';
import { isAwaitingExecutor } from '../domain/workload-state';
import { applyFact } from './change';
import { commandRunOf, currentView } from './command-runs';
import type { Database, Queryable } from './database';
import { markSuspect } from './suspect-slot';
import { lockWorkload, type WorkloadRow } from './workload-row';

/**
 * Brings a workload up to the ledger's clock: applies each deadline that is due, ends the command that nobody
 * holds any more, and returns where it stands. What a workflow
 * calls after every wake and every timer. Null when there is no such workload.
 */
export async function settle(db: Database, workloadId: string, suspectBackoffMs: number): Promise<WorkloadView | null> {
  let applied = false;
  const view = await db.transaction(async (tx) => {
    let row = await lockWorkload(tx, workloadId);
    for (let due = row && (await dueFact(tx, row)); row && due; due = await dueFact(tx, row)) {
      const change = await applyFact(tx, row, due, { actor: 'deadline', wake: false });
      if (change.row === row) break;
      if (isAwaitingExecutor(row.state) && change.path.includes('lost'))
        await markSuspect(tx, workloadId, row.delivery, suspectBackoffMs);
      applied = true;
      debugPoint('deadline-uncommitted');
      row = change.row;
    }
    return row && currentView(tx, row);
  });
  if (applied) debugPoint('deadline-committed');
  return view;
}

/** What the ledger's clock says has happened; null when nothing has. */
async function dueFact(tx: Queryable, row: WorkloadRow): Promise<Fact | null> {
  if (row.closed) return null;
  if (row.deadline_at !== null && row.deadline_at <= row.now) return { type: 'deadline' };
  const run = await commandRunOf(tx, row);
  return run !== null && run.leaseMs === 0 && !run.resumable ? { type: 'lease_expired' } : null;
}
