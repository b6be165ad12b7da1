import type { AbsorbedHow } from '../contracts/terminology';
import type { Queryable } from './database';

/** Notes that a workload's event is covered by another workload. */
export async function noteAbsorbed(tx: Queryable, workloadId: string, by: string, how: AbsorbedHow): Promise<void> {
  await tx.query(
    `INSERT INTO absorbed (workload_id, absorbed_by, how) VALUES ($1, $2, $3)
     ON CONFLICT (workload_id) DO UPDATE SET absorbed_by = excluded.absorbed_by, how = excluded.how, at = excluded.at`,
    [workloadId, by, how],
  );
}

/** A workload that an operator hands over again stands for itself. */
export async function forgetAbsorbed(tx: Queryable, workloadId: string): Promise<void> {
  await tx.query('DELETE FROM absorbed WHERE workload_id = $1', [workloadId]);
}

/**
 * SQL for those a workload stands for, also through others: `workload_id, event_id, how, at`, the nearest first. The workload
 * is `$1`.
 */
const ABSORBED_BY = `
  WITH RECURSIVE stands_for AS (
    SELECT workload_id, how, at FROM absorbed WHERE absorbed_by = $1
    UNION
    SELECT a.workload_id, a.how, a.at FROM absorbed a JOIN stands_for s ON a.absorbed_by = s.workload_id
  )
  SELECT s.workload_id, w.event_id, s.how, s.at FROM stands_for s JOIN workloads w USING (workload_id)`;

/** Most events that are counted and ids that are told with a claim. */
const COUNTED = 10_000;
const TOLD = 200;

/** The events that a delivery stands for beside its own: how many (10,000 at most), and the ids of the newest, newest first. */
export async function absorbedForClaim(
  tx: Queryable,
  workloadId: string,
): Promise<{ count: number; event_ids: string[] } | null> {
  const rows = await tx.query<{ event_id: string }>(
    `SELECT event_id FROM (${ABSORBED_BY} WHERE s.how IN ('coalesced', 'debounced') LIMIT $2) a ORDER BY at DESC`,
    [workloadId, COUNTED],
  );
  if (rows.length === 0) return null;
  return { count: rows.length, event_ids: rows.slice(0, TOLD).map(({ event_id }) => event_id) };
}
