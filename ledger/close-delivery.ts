import { secretHash } from '../domain/secret';
import type { WorkloadState } from '../contracts/terminology';
import type { RunEnd } from '../contracts/work-writes';
import type { Queryable } from './database';
import type { WorkloadRow } from './workload-row';

/** What its worker told of a delivery that has ended. */
export interface DeliveryEnd {
  /** Under which lease: a repeat of the report is known by it. */
  leaseToken: string;
  /** What the report says of a start that nobody reported. */
  wrote: 'written' | 'intended' | 'unknown';
  /** How a delivery that was cancelled before has ended after all. */
  outcome: WorkloadState;
  /** Of a command: its envelope. */
  execution?: string;
  /** Of managed work: its worker's word. */
  run?: { status: RunEnd; code: string | undefined; summary: string | undefined };
}

/** Notes the end of a locked workload's present delivery, and frees its slot. What it means for the workload is said by `applyFact`. */
export async function closeDelivery(
  tx: Queryable,
  row: WorkloadRow,
  { leaseToken, wrote, outcome, execution, run }: DeliveryEnd,
): Promise<void> {
  await tx.query(
    `UPDATE deliveries SET finished_by = $3, slot_until = NULL, ended_at = coalesce(ended_at, clock_timestamp()),
       write = CASE WHEN write = 'intended' THEN $4::text ELSE write END,
       written_at = CASE WHEN write = 'intended' AND $4::text = 'written' THEN clock_timestamp() ELSE written_at END,
       status = CASE WHEN status = 'cancelled' THEN $5 ELSE status END,
       execution = $6, run_status = $7, run_code = $8, run_summary = $9
     WHERE workload_id = $1 AND number = $2`,
    [
      row.workload_id,
      row.delivery,
      secretHash(leaseToken),
      wrote,
      outcome,
      execution ?? null,
      run?.status ?? null,
      run?.code ?? null,
      run?.summary ?? null,
    ],
  );
}
