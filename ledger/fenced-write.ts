import { Problem } from '../contracts/problems';
import { WORKER_STATES } from '../contracts/terminology';
import { mayWrite } from '../domain/worker-moves';
import type { Database, Queryable } from './database';
import { leaseOf, recordStaleWrite, staleness, StaleLease, wasConcluded, type LeaseRow } from './lease';
import type { WorkerPrincipal } from './workers';
import { lockWorkload, type WorkloadRow } from './workload-row';

/** A worker's write under a lease: who, for which workload, with which token. */
export interface FencedWrite {
  principal: WorkerPrincipal;
  workId: string;
  leaseToken: string;
}

/**
 * Under which leases a write is taken.
 * - `live`: one that holds
 * - `concluded`: also one that held until its delivery was ended or cancelled
 * - `ended`: also one that ran out or was closed otherwise, after an intent; for knowledge of what has happened, which changes nothing else
 */
export type Under = 'live' | 'concluded' | 'ended';

/** Runs a write under the workload's lock if its lease is one of `under`. A stale token is the problem `lease.stale` and an audit row. */
export async function fenced<T>(
  db: Database,
  write: FencedWrite,
  kind: string,
  work: (tx: Queryable, row: WorkloadRow, lease: LeaseRow) => Promise<T>,
  under: Under | ((row: WorkloadRow) => Under) = 'live',
): Promise<T> {
  return underLock(db, write, kind, (tx, row, lease) => {
    const stale = staleness(lease, write.principal.workerId, write.leaseToken);
    if (stale !== null && !isTakenUnder(typeof under === 'string' ? under : under(row), stale, lease)) {
      throw new StaleLease(stale, lease, write.leaseToken);
    }
    return work(tx, row, lease!);
  });
}

function isTakenUnder(under: Under, stale: string, lease: LeaseRow | null): boolean {
  if (lease?.delivery == null) return false;
  if (under === 'concluded') return stale === 'closed' && wasConcluded(lease);
  return under === 'ended' && (stale === 'closed' || stale === 'expired');
}

/** Refuses a report of an end unless its lease holds; of a cancelled workload it is also heard under the lease that the cancel closed. */
export function refuseUnlessHeld(row: WorkloadRow, lease: LeaseRow | null, write: FencedWrite): void {
  const stale = staleness(lease, write.principal.workerId, write.leaseToken);
  if (stale === null) return;
  const cancelled = row.state === 'cancelled' && row.may_still_run && lease?.delivery === row.delivery;
  if (!cancelled || !isTakenUnder('concluded', stale, lease)) throw new StaleLease(stale, lease, write.leaseToken);
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

/** States of workers that may write under their leases. */
export const WRITING_STATES = WORKER_STATES.filter(mayWrite);

/** What a worker gets that may not write, or whose credential is revoked or expired. */
export const mayNotWrite = (): Problem =>
  new Problem('auth.required', 'The worker or its credential may not write any more.');

/** Judges worker and credential once the workload is locked: either may have been revoked while the write waited. */
export async function refuseUnlessMayWrite(tx: Queryable, { principal }: FencedWrite): Promise<void> {
  const may = await tx.query(
    `SELECT 1 FROM workers w JOIN worker_credentials c USING (worker_id)
     WHERE w.worker_id = $1 AND c.credential_id = $2 AND w.status = ANY ($3)
       AND c.revoked_at IS NULL AND c.expires_at > clock_timestamp()`,
    [principal.workerId, principal.credentialId, WRITING_STATES],
  );
  if (may.length === 0) throw mayNotWrite();
}
