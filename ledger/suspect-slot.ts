import type { Queryable } from './database';

const MAX_BACKOFF_MS = 30 * 60_000;

/**
 * A lost OpenCrow delivery leaves its worker's slot suspect: otherwise a silent agent would collect a pile of lines and run
 * them all later. The wait before the next probe grows with the probes, see {@link takeProbe}; a loss starts it anew.
 */
export async function markSuspect(
  tx: Queryable,
  workloadId: string,
  delivery: number,
  firstBackoffMs: number,
): Promise<void> {
  await tx.query(
    `WITH slot AS (
       SELECT w.worker_id, least(coalesce(w.suspect_backoff_ms, $3::bigint), $4::bigint) AS backoff_ms
       FROM deliveries d JOIN workers w USING (worker_id)
       WHERE d.workload_id = $1 AND d.number = $2 AND d.executor = 'opencrow'
     ), marked AS (
       UPDATE workers SET suspect_since = clock_timestamp(), suspect_backoff_ms = slot.backoff_ms,
         suspect_probe_at = clock_timestamp() + slot.backoff_ms * interval '1 millisecond'
       FROM slot WHERE workers.worker_id = slot.worker_id RETURNING workers.worker_id, slot.backoff_ms
     )
     INSERT INTO audit (workload_id, type, actor, detail)
     SELECT NULL, 'worker.suspect', 'ledger',
       jsonb_build_object('worker_id', worker_id, 'work_id', $1::text, 'probe_after_ms', backoff_ms) FROM marked`,
    [workloadId, delivery, firstBackoffMs, MAX_BACKOFF_MS],
  );
}

/** Lets one claim through a suspect slot as a probe and closes it again for twice as long, up to 30 minutes. */
export async function takeProbe(tx: Queryable, workerId: string): Promise<void> {
  await tx.query(
    `UPDATE workers SET suspect_backoff_ms = least(suspect_backoff_ms * 2, $2::bigint),
       suspect_probe_at = clock_timestamp() + least(suspect_backoff_ms * 2, $2::bigint) * interval '1 millisecond'
     WHERE worker_id = $1`,
    [workerId, MAX_BACKOFF_MS],
  );
}

/**
 * Closes the breaker: newer lifecycle, an observed restart, or an operator. With `seenAt`, only if that was after the latest
 * loss. True when it was open.
 */
export async function clearSuspect(
  tx: Queryable,
  workerId: string,
  why: string,
  actor: string,
  seenAt: Date | null = null,
): Promise<boolean> {
  const rows = await tx.query<{ worker_id: string }>(
    `WITH cleared AS (
       UPDATE workers SET suspect_since = NULL, suspect_probe_at = NULL, suspect_backoff_ms = NULL
       WHERE worker_id = $1 AND suspect_since IS NOT NULL AND ($4::timestamptz IS NULL OR suspect_since < $4) RETURNING worker_id
     ), note AS (
       INSERT INTO audit (type, actor, detail)
       SELECT 'worker.suspect_cleared', $3::text, jsonb_build_object('worker_id', worker_id, 'why', $2::text) FROM cleared
     )
     SELECT worker_id FROM cleared`,
    [workerId, why, actor, seenAt],
  );
  return rows.length > 0;
}

/**
 * An operator says that the executor is fine: closes the breaker, and gives back the slots of workloads that were cancelled
 * after their handing over, whose end may never be reported. Says whether it was open, and how many slots were given back.
 */
export async function trustAgain(
  db: Queryable,
  workerId: string,
  reason: string,
  actor: string,
): Promise<{ cleared: boolean; freed: number }> {
  const cleared = await clearSuspect(db, workerId, `operator: ${reason}`, actor);
  const freed = await db.query<{ workload_id: string }>(
    `WITH freed AS (
       UPDATE deliveries d SET slot_until = NULL FROM workloads w
       WHERE d.worker_id = $1 AND d.slot_until > clock_timestamp() AND w.workload_id = d.workload_id AND (w.closed OR d.number < w.delivery)
       RETURNING w.tenant_id, d.workload_id, d.number
     ), note AS (
       INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
       SELECT tenant_id, workload_id, 'delivery.slot_freed', $3::text,
         jsonb_build_object('delivery', number, 'worker_id', $1::text, 'operator_reason', $2::text) FROM freed
     )
     SELECT workload_id FROM freed`,
    [workerId, reason, actor],
  );
  return { cleared, freed: freed.length };
}
