import type { WorkloadState } from '../../contracts/terminology';
import type { Queryable } from '../database';

/** What the ledger says of a workload that Temporal knows, or should. */
export interface ExpectedRun {
  workload_id: string;
  state: WorkloadState;
  closed: boolean;
  /** Nothing changed for so long that Temporal must have heard of it. */
  settled: boolean;
}

const COLUMNS = `workload_id, state, closed,
  updated_at < clock_timestamp() - $1::float8 * interval '1 second'
    AND (wake_sent >= wake_seq OR wake_at < clock_timestamp() - $1::float8 * interval '1 second') AS settled`;

/** Open workloads after an id, in order of their ids. */
export const openWorkloadsAfter = (
  db: Queryable,
  workloadId: string,
  quietSeconds: number,
  limit: number,
): Promise<ExpectedRun[]> =>
  db.query(`SELECT ${COLUMNS} FROM workloads WHERE NOT closed AND workload_id > $2 ORDER BY workload_id LIMIT $3`, [
    quietSeconds,
    workloadId,
    limit,
  ]);

/** These workloads, as far as there are any. */
export const workloadsByIds = (
  db: Queryable,
  workloadIds: readonly string[],
  quietSeconds: number,
): Promise<ExpectedRun[]> =>
  db.query(`SELECT ${COLUMNS} FROM workloads WHERE workload_id = ANY($2)`, [quietSeconds, workloadIds]);
