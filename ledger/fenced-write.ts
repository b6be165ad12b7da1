import { Problem } from '../contracts/problems';
import type { Database, Queryable } from './database';
import { leaseOf, recordStaleWrite, staleness, StaleLease, type LeaseRow } from './lease';
import type { WorkerPrincipal } from './workers';
import { lockWorkload, type WorkloadRow } from './workload-row';

/** A worker's write under a lease: who, for which workload, with which token. */
export interface FencedWrite {
  principal: WorkerPrincipal;
  workId: string;
  leaseToken: string;
}

/**
 * Runs a write under the workload's lock if the lease holds. A stale token is the problem `lease.stale` and an audit row.
 * With `closed_too` the last holder may still report what became of its delivery after the control plane closed the lease.
 */
export async function fenced<T>(
  db: Database,
  write: FencedWrite,
  kind: string,
  work: (tx: Queryable, row: WorkloadRow, lease: LeaseRow) => Promise<T>,
  leases: 'live' | 'closed_too' = 'live',
): Promise<T> {
  return underLock(db, write, kind, (tx, row, lease) => {
    const stale = staleness(lease, write.principal.workerId, write.leaseToken);
    const reportable = leases === 'closed_too' && (stale === 'closed' || stale === 'expired') && lease?.delivery;
    if (stale !== null && !reportable) throw new StaleLease(stale, lease, write.leaseToken);
    return work(tx, row, lease!);
  });
}

/** Refuses a report of an end unless its lease holds; of a cancelled workload it is also heard under the lease that the cancel closed. */
export function refuseUnlessHeld(row: WorkloadRow, lease: LeaseRow | null, write: FencedWrite): void {
  const stale = staleness(lease, write.principal.workerId, write.leaseToken);
  const cancelled = stale === 'closed' && row.state === 'cancelled' && row.may_still_run;
  if (stale !== null && !(cancelled && lease!.delivery === row.delivery)) {
    throw new StaleLease(stale, lease, write.leaseToken);
  }
}

/** Runs a write under the workload's lock, whatever its lease says; a {@link StaleLease} that it throws leaves an audit row. */
export async function underLock<T>(
  db: Database,
  write: FencedWrite,
  kind: string,
  work: (tx: Queryable, row: WorkloadRow, lease: LeaseRow | null) => Promise<T>,
): Promise<T> {
  try {
    return await db.transaction(async (tx) => {
      const row = await lockWorkload(tx, write.workId);
      if (!row) throw new Problem('not_found', 'No such workload.');
      return work(tx, row, await leaseOf(tx, write.workId));
    });
  } catch (error) {
    if (error instanceof StaleLease) {
      const { workerId, poolId } = write.principal;
      throw await recordStaleWrite(db, { workId: write.workId, workerId, poolId, kind, stale: error });
    }
    throw error;
  }
}
