import { MAX_RECORD_ROWS } from '../contracts/workload-record';
import type { DecisionRecord, WorkloadRecord, WorkloadSummaryRecord } from '../contracts/workload-record';
import type { SourceEvent } from '../contracts/events';
import type { RunSpec } from '../contracts/run';
import type { WorkloadState } from '../contracts/terminology';
import { ARTIFACTS_COLUMN } from './artifacts';
import { CAPABILITIES_COLUMN, capabilitiesOf, type StoredCapabilities } from './capability-record';
import type { Queryable } from './database';
import { FLOW_COLUMNS, flowOf, type FlowColumns } from './flow-record';
import { decodeCursor, encodeCursor } from './list-cursor';
import { REPLAY_COLUMNS, replayRecordOf } from './replay-record';
import { CALLBACKS_OF_WORKLOAD } from './webhook-records';
import { COMMANDS_COLUMN } from './work-writes/command-records';
import type { WorkloadRow } from './workload-row';
import { summaryOf } from './workload-summary';

/** Which workloads to list; every field narrows. */
export interface WorkloadFilter {
  state?: WorkloadState | undefined;
  source?: string | undefined;
  rule?: string | undefined;
  action?: string | undefined;
  /** Accepted at this time or later. */
  since?: Date | undefined;
}

/** A page of a list, newest first. */
export interface WorkloadPage {
  workloads: WorkloadSummaryRecord[];
  /** Where the next page begins; null on the last one. */
  nextCursor: string | null;
}

/**
 * Lists a tenant's workloads, newest first. Pages hold on to (accepted_at, workload_id), which never change, so what is
 * accepted or moves on meanwhile neither repeats nor hides a workload. A cursor that is none of ours is `request.invalid`.
 */
export async function listWorkloads(
  db: Queryable,
  tenantId: string,
  filter: WorkloadFilter,
  page: { limit: number; cursor?: string | undefined },
): Promise<WorkloadPage> {
  const after = page.cursor === undefined ? null : decodeCursor(page.cursor);
  const rows = await db.query<WorkloadRow & { accepted_text: string }>(
    `SELECT w.*, w.accepted_at::text AS accepted_text FROM workloads w
     WHERE tenant_id = $1
       AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR source = $3)
       AND ($4::text IS NULL OR rule_id = $4) AND ($5::text IS NULL OR action = $5)
       AND ($6::timestamptz IS NULL OR accepted_at >= $6)
       AND ($7::timestamptz IS NULL OR (accepted_at, workload_id) < ($7, $8))
     ORDER BY accepted_at DESC, workload_id DESC LIMIT $9`,
    [
      tenantId,
      filter.state ?? null,
      filter.source ?? null,
      filter.rule ?? null,
      filter.action ?? null,
      filter.since ?? null,
      after?.acceptedAt ?? null,
      after?.workloadId ?? null,
      page.limit + 1,
    ],
  );
  const shown = rows.slice(0, page.limit);
  const last = shown.at(-1);
  const more = rows.length > page.limit && last !== undefined;
  return {
    workloads: shown.map(summaryOf),
    nextCursor: more ? encodeCursor({ acceptedAt: last.accepted_text, workloadId: last.workload_id }) : null,
  };
}

type StoredDecision = Omit<DecisionRecord, 'trace' | 'run'> & { trace: string; run: string | null };
type DeliveryRecord = WorkloadRecord['deliveries'][number];
type StoredDelivery = Omit<DeliveryRecord, 'target' | 'execution'> & {
  target: string | null;
  execution: string | null;
};
interface StoredRecord extends WorkloadRow, FlowColumns {
  event: { body: string | null; received_at: string };
  decision_record: StoredDecision | null;
  capabilities: StoredCapabilities | null;
  lease: WorkloadRecord['lease'];
  deliveries: StoredDelivery[];
  commands: WorkloadRecord['commands'];
  lifecycle: (Omit<WorkloadRecord['lifecycle'][number], 'error' | 'reply_suppressed'> & { record: string })[];
  timeline: WorkloadRecord['timeline'];
  replay_of: WorkloadRecord['replay_of'];
  replays: WorkloadRecord['replays'];
  callbacks: (WorkloadRecord['callbacks'][number] & { at: string })[];
}

/** One statement, so that the record is one moment's truth. */
const RECORD = `
SELECT w.*, ${FLOW_COLUMNS},
  (SELECT row_to_json(e) FROM (SELECT body, received_at FROM events WHERE workload_id = w.workload_id) e) AS event,
  (SELECT row_to_json(d) FROM (
     SELECT decision, rule_id, policy_version, policy_hash, reason, dedupe_key, duplicate_of, trace, run, decided_at
     FROM decisions WHERE workload_id = w.workload_id) d) AS decision_record,${CAPABILITIES_COLUMN},
  (SELECT row_to_json(l) FROM (
     SELECT leased_by AS worker_id, epoch, status, attempt, claimed_at, lease_expires_at AS expires_at, last_heartbeat_at,
       completed_at, failed_at
     FROM audit_leases WHERE work_id = w.workload_id) l) AS lease,
  (SELECT coalesce(json_agg(d ORDER BY d.number), '[]') FROM (
     SELECT number, delivery_id, executor, worker_id, pool_id, epoch, intent_at, write, written_at, status, started_at,
       ended_at, executor_instance, executor_attempt, double_execution, suspect_since, target,
       execution,
       CASE WHEN run_status IS NOT NULL THEN json_build_object('status', run_status, 'code', run_code, 'summary', run_summary) END AS run,
       ${ARTIFACTS_COLUMN}
     FROM deliveries WHERE workload_id = w.workload_id ORDER BY number DESC LIMIT $3) d) AS deliveries,
  ${COMMANDS_COLUMN},
  (SELECT coalesce(json_agg(l ORDER BY l.seq), '[]') FROM (
     SELECT seq, delivery_id, delivery_number, event_id, status, occurred_at, received_at, worker_id, effect, note, record
     FROM lifecycle_events WHERE workload_id = w.workload_id ORDER BY seq DESC LIMIT $3) l) AS lifecycle,
  (SELECT coalesce(json_agg(a ORDER BY a.seq), '[]') FROM (
     SELECT seq, at, type, actor, detail FROM audit WHERE workload_id = w.workload_id ORDER BY seq DESC LIMIT $3) a) AS timeline,
  (SELECT row_to_json(o) FROM (
     SELECT replay_of AS workload_id, ${REPLAY_COLUMNS} FROM replays WHERE workload_id = w.workload_id) o) AS replay_of,
  (SELECT coalesce(json_agg(n ORDER BY n.at), '[]') FROM (
     SELECT workload_id, ${REPLAY_COLUMNS} FROM replays WHERE replay_of = w.workload_id
     ORDER BY replayed_at DESC LIMIT $3) n) AS replays,
  (SELECT coalesce(json_agg(c ORDER BY c.at, c.callback_id), '[]') FROM (${CALLBACKS_OF_WORKLOAD}) c) AS callbacks
FROM workloads w WHERE w.workload_id = $1 AND w.tenant_id = $2`;

/** The full record of a tenant's workload; null when the tenant has no such workload. */
export async function workloadRecordOf(
  db: Queryable,
  tenantId: string,
  workloadId: string,
): Promise<WorkloadRecord | null> {
  const [row] = await db.query<StoredRecord>(RECORD, [workloadId, tenantId, MAX_RECORD_ROWS]);
  if (!row) return null;
  return {
    ...summaryOf(row),
    event: eventOf(row),
    decision: row.decision_record && decisionOf(row.decision_record),
    capabilities: row.capabilities && capabilitiesOf(row.capabilities),
    ...flowOf(row),
    lease: row.lease && {
      ...row.lease,
      claimed_at: utc(row.lease.claimed_at),
      expires_at: utc(row.lease.expires_at),
      last_heartbeat_at: utc(row.lease.last_heartbeat_at),
      completed_at: utc(row.lease.completed_at),
      failed_at: utc(row.lease.failed_at),
    },
    deliveries: row.deliveries.map((delivery) => ({
      ...delivery,
      intent_at: utc(delivery.intent_at),
      written_at: utc(delivery.written_at),
      started_at: utc(delivery.started_at),
      ended_at: utc(delivery.ended_at),
      suspect_since: utc(delivery.suspect_since),
      target: delivery.target === null ? null : (JSON.parse(delivery.target) as DeliveryRecord['target']),
      execution: delivery.execution === null ? null : (JSON.parse(delivery.execution) as DeliveryRecord['execution']),
      artifacts: delivery.artifacts.map((artifact) => ({
        ...artifact,
        created_at: utc(artifact.created_at),
        deleted_at: utc(artifact.deleted_at),
      })),
    })),
    commands: row.commands.map((command) => ({
      ...command,
      recorded_at: utc(command.recorded_at),
      updated_at: utc(command.updated_at),
    })),
    lifecycle: row.lifecycle.map(lifecycleOf),
    timeline: row.timeline.map(({ seq, at, type, actor, detail }) => ({ seq, at: utc(at), type, actor, detail })),
    replay_of: row.replay_of && replayRecordOf(row.replay_of),
    replays: row.replays.map(replayRecordOf),
    callbacks: row.callbacks.map(({ at: _at, ...callback }) => ({
      ...callback,
      next_attempt_at: utc(callback.next_attempt_at),
    })),
  };
}

/** Whether an event is decided yet, and how; null when the tenant has no such workload. */
export async function decisionOfWorkload(
  db: Queryable,
  tenantId: string,
  workloadId: string,
): Promise<{ state: WorkloadState; decision: DecisionRecord | null } | null> {
  const [row] = await db.query<{ state: WorkloadState; decision: StoredDecision | null }>(
    `SELECT w.state, (SELECT row_to_json(d) FROM (
       SELECT decision, rule_id, policy_version, policy_hash, reason, dedupe_key, duplicate_of, trace, run, decided_at
       FROM decisions WHERE workload_id = w.workload_id) d) AS decision
     FROM workloads w WHERE w.workload_id = $1 AND w.tenant_id = $2`,
    [workloadId, tenantId],
  );
  return row ? { state: row.state, decision: row.decision && decisionOf(row.decision) } : null;
}

/** Open workloads by state, for metrics. */
export async function openWorkloadsByState(db: Queryable): Promise<{ state: WorkloadState; count: number }[]> {
  return db.query('SELECT state, count(*)::int AS count FROM workloads WHERE NOT closed GROUP BY state');
}

function utc(time: string): string;
function utc(time: string | null): string | null;
function utc(time: string | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}

function eventOf(row: StoredRecord): WorkloadRecord['event'] {
  const body = row.event.body === null ? null : (JSON.parse(row.event.body) as SourceEvent);
  return {
    source: row.source,
    action: row.action,
    event_id: row.event_id,
    subject: row.subject,
    occurred_at: body?.occurred_at ?? null,
    received_at: utc(row.event.received_at),
    data: body?.data ?? null,
    ...(body?.attributes && { attributes: body.attributes }),
  };
}

function decisionOf(stored: StoredDecision): DecisionRecord {
  const trace = JSON.parse(stored.trace) as {
    ruleId: string;
    outcome: DecisionRecord['trace'][number]['outcome'];
    error?: string;
  }[];
  return {
    ...stored,
    trace: trace.map(({ ruleId, outcome, error }) => ({
      rule_id: ruleId,
      outcome,
      ...(error === undefined ? {} : { error }),
    })),
    run: stored.run === null ? null : (JSON.parse(stored.run) as RunSpec),
    decided_at: utc(stored.decided_at),
  };
}

function lifecycleOf(stored: StoredRecord['lifecycle'][number]): WorkloadRecord['lifecycle'][number] {
  const record = JSON.parse(stored.record) as { error?: string; reply_suppressed?: boolean };
  return {
    delivery_id: stored.delivery_id,
    delivery_number: stored.delivery_number,
    event_id: stored.event_id,
    status: stored.status,
    occurred_at: stored.occurred_at,
    received_at: utc(stored.received_at),
    worker_id: stored.worker_id,
    effect: stored.effect,
    note: stored.note,
    error: record.error ?? null,
    reply_suppressed: record.reply_suppressed ?? null,
  };
}
