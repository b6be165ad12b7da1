import { livesByItsLease, type LeaseStatus, type WorkloadState } from '../contracts/terminology';
import { CANCELLED_SLOT_MS } from '../domain/execution/command-lease';
import { leaseEndOf } from '../domain/lease-end';
import type { Fact, Transition } from '../domain/workload-progress';
import { isAwaitingExecutor, transition } from '../domain/workload-state';
import { CAPABILITIES_FOLLOW } from './capability-changes';
import type { Queryable } from './database';
import { newsInsert, newsParameters } from './news';
import { progressOf, type WorkloadRow } from './workload-row';

export interface ChangeContext {
  /** Who or what brought the fact: `policy`, `worker:<id>`, `token:<id>`, `deadline`. */
  actor: string;
  /** The workflow does not know of it yet and must be woken. */
  wake: boolean;
  /** Goes to the audit row; ids and codes only. */
  detail?: Record<string, unknown>;
}

export interface Change extends Transition {
  /** The row after the change; the same row when nothing changed. */
  row: WorkloadRow;
}

/**
 * Brings a fact to a locked workload: the pure transition decides, one statement writes it down with everything that hangs
 * on it (lease, slot, dedupe claim, audit). The only place that changes a workload's state. While OpenCrow works, the lease
 * lives to the deadline; of the other executors it lives by its worker's renewals.
 */
export async function applyFact(tx: Queryable, row: WorkloadRow, fact: Fact, context: ChangeContext): Promise<Change> {
  const before = progressOf(row);
  const decided = transition(before, fact, row.now.getTime());
  if (decided.verdict === 'conflict' || decided.next === before) return { ...decided, row };

  const after = changedRow(row, decided, context.wake);
  await write(tx, row, after, decided, { ...context, leaseEnd: leaseEndOf(fact, decided) });
  return { ...decided, row: after };
}

function changedRow(row: WorkloadRow, { next, path, reason, verdict }: Transition, wake: boolean): WorkloadRow {
  const date = (value: number | null): Date | null => (value === null ? null : new Date(value));
  return {
    ...row,
    state: next.state,
    reason: path.length > 0 ? reason : row.reason,
    updated_at: row.now,
    ended_at: next.closed || next.state === 'lost' ? (row.ended_at ?? row.now) : null,
    delivery: next.delivery,
    attempts: next.attempts,
    max_deliveries: next.maxDeliveries,
    queued_until: date(next.queuedUntil),
    total_at: date(next.totalAt),
    late_until: date(next.lateUntil),
    deadline_kind: next.deadline?.kind ?? null,
    deadline_at: date(next.deadline?.at ?? null),
    closed: next.closed,
    may_still_run: next.mayStillRun,
    waiting_for: next.waitingFor,
    opens_at: next.waitingFor === row.waiting_for ? row.opens_at : null,
    corrected: row.corrected || verdict === 'corrected',
    wake_seq: wake ? String(BigInt(row.wake_seq) + 1n) : row.wake_seq,
    news_seq: path.length > 0 ? row.news_seq + 1 : row.news_seq,
  };
}

/** Nothing can have been done for it, so its dedupe key is free at once. */
const isFreedAtOnce = ({ state, delivery }: WorkloadRow): boolean =>
  state === 'refused' || (delivery === 0 && (state === 'denied' || state === 'cancelled'));

/** A lease that had run out before its intent was lost by its worker, whatever ends it. */
const LEASE_END = `CASE WHEN $36::text = 'failed' AND delivery IS NULL AND expires_at <= $4::timestamptz THEN 'expired' ELSE $36::text END`;

const WRITE = `
WITH workload AS (
  UPDATE workloads SET state = $2, reason = $3, updated_at = $4, ended_at = $5, delivery = $6, attempts = $7,
    max_deliveries = $8, queued_until = $9, total_at = $10, late_until = $11, deadline_kind = $12, deadline_at = $13,
    closed = $14, may_still_run = $15, corrected = $16,
    wake_at = CASE WHEN wake_seq < $17 THEN clock_timestamp() ELSE wake_at END, wake_seq = $17,
    news_seq = $26, waiting_for = $32, opens_at = $33,
    waiting_since = CASE WHEN $2 = 'queued' AND queued_until IS DISTINCT FROM $9 THEN $4 ELSE waiting_since END
  WHERE workload_id = $1
), lease AS (
  UPDATE leases SET
    expires_at = CASE WHEN $18::boolean AND delivery = $6 AND NOT $34::boolean THEN $13::timestamptz ELSE expires_at END,
    closed_at = CASE WHEN $18::boolean AND delivery = $6 THEN NULL ELSE $4::timestamptz END,
    close_reason = CASE WHEN $18::boolean AND delivery = $6 THEN NULL ELSE $3 END,
    status = CASE WHEN $18::boolean AND delivery = $6 THEN 'held' ELSE ${LEASE_END} END,
    completed_at = CASE WHEN NOT ($18::boolean AND delivery = $6) AND $36::text = 'completed' THEN $4::timestamptz END,
    failed_at = CASE WHEN NOT ($18::boolean AND delivery = $6) AND $36::text IN ('failed', 'expired') THEN $4::timestamptz END
  WHERE work_id = $1 AND closed_at IS NULL
  RETURNING status, epoch, worker_id, delivery
), slot AS (
  UPDATE deliveries SET
    status = $19::text,
    slot_until = CASE WHEN $18::boolean THEN $13::timestamptz
      WHEN $15::boolean AND $34::boolean THEN least(slot_until, $4::timestamptz + $35::float8 * interval '1 millisecond')
      WHEN $15::boolean THEN slot_until END,
    started_at = CASE WHEN $19::text = 'running' THEN coalesce(started_at, $4::timestamptz) ELSE started_at END,
    ended_at = CASE WHEN $18::boolean OR $15 THEN NULL ELSE coalesce(ended_at, $4::timestamptz) END
  WHERE workload_id = $1 AND number = $20 AND $19::text IS NOT NULL
), claim AS (
  UPDATE dedupe_claims SET open = NOT $14::boolean, window_until = CASE WHEN $21::boolean THEN $4::timestamptz ELSE window_until END
  WHERE workload_id = $1
), news AS (${newsInsert(25)}
), ${CAPABILITIES_FOLLOW}
INSERT INTO audit (tenant_id, workload_id, at, type, actor, detail)
SELECT $22::text, $1, $4::timestamptz, step.type, $23::text, step.detail
FROM jsonb_to_recordset($24::jsonb) AS step(type text, detail jsonb)
UNION ALL
SELECT $22::text, $1, $4::timestamptz, step.type, $23::text, step.detail FROM capability_step step
UNION ALL
SELECT $22::text, $1, $4::timestamptz, 'lease.' || status, $23::text,
  jsonb_strip_nulls(jsonb_build_object('epoch', epoch, 'worker_id', worker_id, 'delivery', delivery, 'reason', $3::text))
FROM lease WHERE status IN ('completed', 'failed', 'expired')`;

async function write(
  tx: Queryable,
  before: WorkloadRow,
  after: WorkloadRow,
  decided: Transition,
  context: ChangeContext & { leaseEnd: LeaseStatus },
): Promise<void> {
  await tx.query(WRITE, [
    after.workload_id,
    after.state,
    after.reason,
    after.now,
    after.ended_at,
    after.delivery,
    after.attempts,
    after.max_deliveries,
    after.queued_until,
    after.total_at,
    after.late_until,
    after.deadline_kind,
    after.deadline_at,
    after.closed,
    after.may_still_run,
    after.corrected,
    after.wake_seq,
    isAwaitingExecutor(after.state),
    deliveryStatus(before, after, decided),
    Math.max(before.delivery, after.delivery),
    isFreedAtOnce(after),
    after.tenant_id,
    context.actor,
    JSON.stringify(auditSteps(before, decided, context)),
    ...newsParameters(after, decided.path.length > 0),
    after.waiting_for,
    after.opens_at,
    livesByItsLease(after.executor),
    CANCELLED_SLOT_MS,
    context.leaseEnd,
  ]);
}

/** What the change means for the delivery at hand; null when it is not about it: how an ended delivery ended is not rewritten. */
function deliveryStatus(before: WorkloadRow, after: WorkloadRow, decided: Transition): WorkloadState | null {
  const concerned =
    isAwaitingExecutor(before.state) || isAwaitingExecutor(after.state) || decided.verdict === 'corrected';
  const [status] = decided.path;
  return concerned && status !== undefined && status !== 'queued' ? status : null;
}

function auditSteps(before: WorkloadRow, decided: Transition, context: ChangeContext): object[] {
  const delivery = Math.max(before.delivery, decided.next.delivery);
  const detail = { reason: decided.reason, delivery, ...context.detail };
  if (decided.path.length === 0) return [{ type: `workload.${decided.reason}`, detail }];
  let from = before.state;
  return decided.path.map((state) => {
    const step = { type: `workload.${state}`, detail: { from, ...detail } };
    from = state;
    return step;
  });
}
