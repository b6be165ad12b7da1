import type { WorkloadView } from '../contracts/workflow';
import { debugPoint } from '../domain/debug-point';
import { isAwaitingExecutor } from '../domain/workload-state';
import { applyFact } from './change';
import type { Database } from './database';
import { markSuspect } from './suspect-slot';
import { lockWorkload, viewOf } from './workload-row';

/**
 * Brings a workload up to the ledger's clock: applies each deadline that is due and returns where it stands. What a workflow
 * calls after every wake and every timer. Null when there is no such workload.
 */
export async function settle(db: Database, workloadId: string, suspectBackoffMs: number): Promise<WorkloadView | null> {
  let applied = false;
  const view = await db.transaction(async (tx) => {
    let row = await lockWorkload(tx, workloadId);
    while (row && !row.closed && row.deadline_at !== null && row.deadline_at <= row.now) {
      const change = await applyFact(tx, row, { type: 'deadline' }, { actor: 'deadline', wake: false });
      if (change.row === row) break;
      if (isAwaitingExecutor(row.state) && change.path.includes('lost'))
        await markSuspect(tx, workloadId, row.delivery, suspectBackoffMs);
      applied = true;
      debugPoint('deadline-uncommitted');
      row = change.row;
    }
    return row && viewOf(row);
  });
  if (applied) debugPoint('deadline-committed');
  return view;
}
