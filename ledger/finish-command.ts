import type { ExecutionEnvelope } from '../contracts/execution';
import { Problem } from '../contracts/problems';
import type { RunSpec } from '../contracts/run';
import { isCommandExecutor } from '../contracts/terminology';
import type { FinishRequest, LeaseOutcome } from '../contracts/worker-protocol';
import { envelopeFaults, evidenceDigest, exitCodeOf, reportedEnd } from '../domain/execution/reported-end';
import { secretHash } from '../domain/secret';
import { completeArtifacts } from './artifacts';
import { applyFact } from './change';
import { closeDelivery } from './close-delivery';
import type { Database, Queryable } from './database';
import { refuseUnlessHeld, underLock, type FencedWrite } from './fenced-write';
import { outcomeOf, type WorkloadRow } from './workload-row';

/**
 * Takes a worker's report of how its command ended: keeps the envelope, and decides the workload by it. Under a lease that holds;
 * of a cancelled workload also under the one the cancel closed. A repeat is answered and changes nothing.
 */
export async function finishCommand(db: Database, write: FencedWrite, report: FinishRequest): Promise<LeaseOutcome> {
  return underLock(db, write, 'finish', async (tx, row, lease) => {
    if (await isRepeat(tx, write, report.envelope)) return outcomeOf(row);
    refuseUnlessHeld(row, lease, write);
    if (lease!.delivery === null || !isCommandExecutor(row.executor)) {
      throw new Problem('workload.state_conflict', 'No command was begun under this lease.', {
        extra: { state: row.state },
      });
    }
    await refuseUnlessItsRun(tx, row, report.envelope);
    const end = reportedEnd(report);
    const ranBefore = end.outcome === 'refused' && (await mayHaveRunBefore(tx, row));
    await closeDelivery(tx, row, {
      leaseToken: write.leaseToken,
      wrote: WRITE_OF[end.outcome],
      outcome: end.outcome,
      execution: JSON.stringify(report.envelope),
    });
    await completeArtifacts(tx, row.workload_id, row.delivery, report.output);
    const change = await applyFact(
      tx,
      row,
      { type: 'executed', delivery: row.delivery, ...end, ranBefore },
      {
        actor: `worker:${write.principal.workerId}`,
        wake: false,
        detail: {
          status: report.envelope.status,
          exit_code: exitCodeOf(report.envelope),
          evidence_sha256: evidenceDigest(report.envelope),
        },
      },
    );
    return outcomeOf(change.row);
  });
}

/** The same report came before under the same lease, which may be another's by now. */
async function isRepeat(
  tx: Queryable,
  { workId, leaseToken, principal }: FencedWrite,
  envelope: ExecutionEnvelope,
): Promise<boolean> {
  const [known] = await tx.query<{ execution: string }>(
    'SELECT execution FROM deliveries WHERE workload_id = $1 AND finished_by = $2 AND worker_id = $3',
    [workId, secretHash(leaseToken), principal.workerId],
  );
  return known?.execution === JSON.stringify(envelope);
}

async function refuseUnlessItsRun(tx: Queryable, row: WorkloadRow, envelope: ExecutionEnvelope): Promise<void> {
  const [decision] = await tx.query<{ run: string | null }>('SELECT run FROM decisions WHERE workload_id = $1', [
    row.workload_id,
  ]);
  if (decision?.run == null) throw new Problem('workload.state_conflict', 'The workload has no command.');
  const errors = envelopeFaults(envelope, row.executor, JSON.parse(decision.run) as RunSpec);
  if (errors.length > 0) {
    throw new Problem('request.invalid', 'The envelope is not of the run that this lease is for.', { errors });
  }
}

/** An earlier delivery was handed over, and is not known to have been refused too. */
async function mayHaveRunBefore(tx: Queryable, row: WorkloadRow): Promise<boolean> {
  const rows = await tx.query(
    `SELECT 1 FROM deliveries WHERE workload_id = $1 AND number < $2 AND write <> 'not_written'
       AND status IS DISTINCT FROM 'refused' LIMIT 1`,
    [row.workload_id, row.delivery],
  );
  return rows.length > 0;
}

/** What a report of the end says of a start that nobody reported. */
const WRITE_OF = { completed: 'written', failed: 'written', refused: 'intended', lost: 'unknown' } as const;
