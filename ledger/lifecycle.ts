import { parseDeliveryId } from '../contracts/names';
import type { LifecycleEffect, LifecycleEvent, LifecycleRecord } from '../contracts/lifecycle';
import { livesByItsLease, type WorkloadState } from '../contracts/terminology';
import type { Fact, Verdict } from '../domain/workload-progress';
import { applyFact } from './change';
import type { Database, Queryable } from './database';
import { clearSuspect } from './suspect-slot';
import type { WorkerPrincipal } from './workers';
import { lockWorkload, type WorkloadRow } from './workload-row';

/** Records that belong to no workload are kept up to this many a worker and minute; the rest is only counted. */
export const STRANGERS_PER_MINUTE = 100;

export interface RecordedLifecycle {
  effect: LifecycleEffect;
  /** The workload's row after the record, when there is one and its workflow must hear of it. */
  wake: WorkloadRow | null;
  state?: WorkloadState;
}

interface Reported {
  /** Pool of the delivery; null when there was no such delivery. */
  pool_id: string | null;
  /** Since when the reporting worker's slot is suspect. */
  suspect_since: Date | null;
  /** Another worker holds the lease of this delivery. */
  held_by_another: boolean;
}

/**
 * Records one lifecycle record of an executor. Lifecycle is evidence, not a fenced write: it is always recorded, and the
 * transition decides what it changes.
 */
export async function recordLifecycle(
  db: Database,
  principal: WorkerPrincipal,
  record: LifecycleRecord,
): Promise<RecordedLifecycle> {
  if ('unreadable' in record) return recordStranger(db, principal, record, 'unreadable');
  const id = parseDeliveryId(record.delivery_id);
  if (!id) return recordStranger(db, principal, record, 'unknown_delivery');
  return db.transaction(async (tx) => {
    const row = await lockWorkload(tx, id.workloadId);
    if (!row) return recordStranger(tx, principal, record, 'unknown_delivery');
    return recordKnown(tx, principal, record, row, id.number);
  });
}

async function recordKnown(
  tx: Queryable,
  principal: WorkerPrincipal,
  event: LifecycleEvent,
  row: WorkloadRow,
  number: number,
): Promise<RecordedLifecycle> {
  const [reported] = await tx.query<Reported>(
    `SELECT d.pool_id, w.suspect_since,
       EXISTS (SELECT 1 FROM leases l WHERE l.work_id = $1 AND l.delivery = $2 AND l.worker_id <> $3
         AND l.closed_at IS NULL AND l.expires_at > clock_timestamp()) AS held_by_another
     FROM workers w
     LEFT JOIN deliveries d ON d.workload_id = $1 AND d.number = $2 AND d.write <> 'not_written'
     WHERE w.worker_id = $3`,
    [row.workload_id, number, principal.workerId],
  );
  const foreign = whyForeign(principal, event, row, reported);
  const seq = await insertEvidence(tx, principal, event, row, number);
  if (seq === null) return { effect: 'duplicate', wake: null, state: row.state };

  const fact: Fact = { type: 'lifecycle', delivery: number, status: event.status };
  const actor = `executor:${principal.workerId}`;
  const detail = {
    event: event.event_id,
    attempt: event.attempt ?? null,
    reply_suppressed: event.reply_suppressed ?? null,
  };
  const change = foreign ? null : await applyFact(tx, row, fact, { actor, wake: true, detail });
  const effect = change ? effectOf(change.verdict) : reported?.pool_id ? 'mismatch' : 'unknown_delivery';
  await concludeEvidence(tx, { row, event, number, seq, effect, note: foreign ?? change!.reason, actor });
  const occurredAt = new Date(event.occurred_at);
  if (!foreign && row.executor === 'opencrow' && reported?.suspect_since && occurredAt > reported.suspect_since) {
    await clearSuspect(tx, principal.workerId, 'newer_lifecycle', actor, occurredAt);
  }
  const after = change?.row ?? row;
  const wake = change && change.path.length > 0 ? after : null;
  return foreign ? { effect, wake } : { effect, wake, state: after.state };
}

/** Why a record cannot be about the delivery it names; null when it can. */
function whyForeign(
  principal: WorkerPrincipal,
  event: LifecycleEvent,
  row: WorkloadRow,
  reported: Reported | undefined,
): string | null {
  const poolId = reported?.pool_id ?? null;
  if (poolId === null) return 'delivery_never_made';
  if (poolId !== principal.poolId) return 'reported_by_another_pool';
  if (livesByItsLease(row.executor) && reported!.held_by_another) return 'held_by_another_worker';
  if (event.source !== undefined && event.source !== row.source) return 'another_source';
  if (event.action !== undefined && event.action !== row.action) return 'another_action';
  if (event.source_event_id !== undefined && event.source_event_id !== row.event_id) return 'another_event';
  return null;
}

async function insertEvidence(
  tx: Queryable,
  principal: WorkerPrincipal,
  event: LifecycleEvent,
  row: WorkloadRow,
  number: number,
): Promise<string | null> {
  const [inserted] = await tx.query<{ seq: string }>(
    `INSERT INTO lifecycle_events (workload_id, delivery_number, delivery_id, event_id, status, occurred_at, worker_id, pool_id,
       effect, record)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'recorded', $9)
     ON CONFLICT (delivery_id, event_id, pool_id) WHERE workload_id IS NOT NULL DO NOTHING RETURNING seq`,
    [
      row.workload_id,
      number,
      event.delivery_id,
      event.event_id,
      event.status,
      event.occurred_at,
      principal.workerId,
      principal.poolId,
      JSON.stringify(event),
    ],
  );
  return inserted?.seq ?? null;
}

interface Conclusion {
  row: WorkloadRow;
  event: LifecycleEvent;
  number: number;
  seq: string;
  effect: LifecycleEffect;
  note: string;
  actor: string;
}

/** Writes what the record did beside it, and what only the delivery row knows: instance, attempt, end, double execution. */
async function concludeEvidence(
  tx: Queryable,
  { row, event, number, seq, effect, note, actor }: Conclusion,
): Promise<void> {
  const applied = effect === 'applied' || effect === 'corrected';
  const double = effect === 'double_execution';
  const counts = effect !== 'mismatch' && effect !== 'unknown_delivery';
  const ended = event.status !== 'running' && event.status !== 'preempted';
  await tx.query(
    `WITH evidence AS (
       UPDATE lifecycle_events SET effect = $2::text, note = $3::text WHERE seq = $1
     ), delivery AS (
       UPDATE deliveries SET
         executor_instance = coalesce($4::text, executor_instance), executor_attempt = coalesce($5::int, executor_attempt),
         double_execution = double_execution OR $6::boolean, suspect_since = NULL,
         status = CASE WHEN $8::boolean AND status IN ('cancelled', 'lost') THEN $9::text ELSE status END,
         ended_at = CASE WHEN $8::boolean THEN coalesce(ended_at, clock_timestamp()) ELSE ended_at END,
         slot_until = CASE WHEN $8::boolean THEN NULL
           WHEN $9::text = 'running' AND executor = 'opencrow' AND slot_until IS NOT NULL AND NOT $15::boolean
             THEN greatest(slot_until, clock_timestamp() + $16::float8 * interval '1 millisecond')
           ELSE slot_until END
       WHERE workload_id = $10 AND number = $11 AND $7::boolean
     ), workload AS (
       UPDATE workloads SET double_execution = double_execution OR $6::boolean,
         may_still_run = may_still_run AND NOT ($8::boolean AND delivery = $11)
       WHERE workload_id = $10 AND ($6::boolean OR ($8::boolean AND may_still_run))
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     SELECT $12::text, $10, 'lifecycle.' || $9::text, $13::text, jsonb_build_object('effect', $2::text, 'why', $3::text,
       'delivery', $11::int, 'event', $14::text)
     WHERE NOT $15::boolean`,
    [
      seq,
      effect,
      note,
      event.opencrow_instance ?? null,
      event.attempt ?? null,
      double,
      counts,
      ended && counts && !applied,
      event.status,
      row.workload_id,
      number,
      row.tenant_id,
      actor,
      event.event_id,
      applied,
      row.terms?.deadlines.run ?? 0,
    ],
  );
}

/** A record that names no workload of ours: noise, a forgery, or another service's. Bounded a minute and worker. */
async function recordStranger(
  db: Queryable,
  principal: WorkerPrincipal,
  record: LifecycleRecord,
  effect: 'unreadable' | 'unknown_delivery',
): Promise<RecordedLifecycle> {
  const named = 'unreadable' in record ? null : record;
  const rows = await db.query(
    `INSERT INTO lifecycle_events (delivery_id, event_id, status, occurred_at, worker_id, pool_id, effect, note, record)
     SELECT $1::text, $2::text, $3::text, $4::text, $5::text, $10::text, $6::text, $7::text, $8::text
     WHERE (SELECT count(*) FROM lifecycle_events
            WHERE workload_id IS NULL AND worker_id = $5::text AND received_at > clock_timestamp() - interval '1 minute') < $9::int
     RETURNING seq`,
    [
      named?.delivery_id ?? null,
      named?.event_id ?? null,
      named?.status ?? null,
      named?.occurred_at ?? null,
      principal.workerId,
      effect,
      'unreadable' in record ? record.why : 'no_such_workload',
      JSON.stringify(record),
      STRANGERS_PER_MINUTE,
      principal.poolId,
    ],
  );
  return { effect: rows.length > 0 ? effect : 'rate_limited', wake: null };
}

const EFFECTS: Record<Verdict, LifecycleEffect> = {
  applied: 'applied',
  corrected: 'corrected',
  recorded: 'recorded',
  double_execution: 'double_execution',
  unknown_delivery: 'unknown_delivery',
  too_late: 'too_late',
  conflict: 'recorded',
};
const effectOf = (verdict: Verdict): LifecycleEffect => EFFECTS[verdict];
