import { Problem } from '../../contracts/problems';
import type { RunEnd, RunStatusRequest } from '../../contracts/work-writes';
import type { LeaseOutcome } from '../../contracts/worker-protocol';
import { secretHash } from '../../domain/secret';
import { applyFact } from '../change';
import { closeDelivery } from '../close-delivery';
import type { Database, Queryable } from '../database';
import { fenced, refuseUnlessHeld, refuseUnlessMayWrite, underLock, type FencedWrite } from '../fenced-write';
import { startWork } from '../renew-lease';
import { outcomeOf, type WorkloadRow } from '../workload-row';

export interface RunReported {
  answer: LeaseOutcome;
  /** The workload's row, when its workflow must hear of it. */
  wake: WorkloadRow | null;
}

const OUTCOME = { completed: 'completed', failed: 'failed', cancelled: 'aborted' } as const;
const KIND = 'run-status';

/**
 * Takes a managed worker's word for how its work stands. Its end decides the workload, once: under a lease that holds, of a cancelled
 * workload also under the one the cancel closed. The same end again is answered and changes nothing.
 */
export async function reportRun(db: Database, write: FencedWrite, report: RunStatusRequest): Promise<RunReported> {
  const { status } = report;
  if (status === 'running') {
    return fenced(db, write, KIND, async (tx, row, lease) => {
      await refuseUnlessMayWrite(tx, write);
      refuseUnlessManaged(row, lease.delivery);
      const started = row.state === 'delivered' ? await startWork(tx, row, write) : null;
      return { answer: outcomeOf(started ?? row), wake: started };
    });
  }
  return underLock(db, write, KIND, async (tx, row, lease) => {
    await refuseUnlessMayWrite(tx, write);
    if (await isRepeat(tx, write, report)) return { answer: outcomeOf(row), wake: null };
    refuseUnlessHeld(row, lease, write);
    refuseUnlessManaged(row, lease!.delivery);
    await closeDelivery(tx, row, {
      leaseToken: write.leaseToken,
      wrote: 'written',
      outcome: OUTCOME[status],
      run: { status, code: report.code, summary: report.summary },
    });
    const fact = {
      type: 'executed',
      delivery: row.delivery,
      outcome: OUTCOME[status],
      reason: `run_${status}`,
    } as const;
    const change = await applyFact(tx, row, fact, {
      actor: `worker:${write.principal.workerId}`,
      wake: true,
      detail: { status, code: report.code ?? null },
    });
    return { answer: outcomeOf(change.row), wake: change.row };
  });
}

function refuseUnlessManaged(row: WorkloadRow, delivery: number | null): void {
  if (delivery !== null && row.executor === 'managed') return;
  const why = delivery === null ? 'No intent is recorded under this lease.' : `The work is ${row.executor}'s.`;
  throw new Problem('workload.state_conflict', why, { extra: { state: row.state } });
}

/** The same end came before under the same lease, which may be another's by now; another end is a conflict. */
async function isRepeat(
  tx: Queryable,
  { workId, leaseToken, principal }: FencedWrite,
  { status, code, summary }: RunStatusRequest,
): Promise<boolean> {
  const [known] = await tx.query<{ run_status: RunEnd | null; run_code: string | null; run_summary: string | null }>(
    'SELECT run_status, run_code, run_summary FROM deliveries WHERE workload_id = $1 AND finished_by = $2 AND worker_id = $3',
    [workId, secretHash(leaseToken), principal.workerId],
  );
  if (!known) return false;
  if (known.run_status !== status) {
    throw new Problem('workload.state_conflict', `Its end was reported: ${known.run_status}.`, {
      extra: { kept_status: known.run_status },
    });
  }
  if (known.run_code !== (code ?? null) || known.run_summary !== (summary ?? null)) {
    throw new Problem('idempotency.content_mismatch', 'Its end was reported with another code or summary.');
  }
  return true;
}
