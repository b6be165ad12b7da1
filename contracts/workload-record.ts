import { z } from 'zod';
import { artifactRecord } from './artifacts';
import { capabilitiesRecord } from './capabilities';
import { executionEnvelope, executionHandle } from './execution';
import { LIFECYCLE_EFFECTS } from './lifecycle';
import { runSpec } from './run';
import {
  ABSORBED_HOW,
  DEADLINES,
  DECISIONS,
  EXECUTORS,
  GATES,
  LEASE_STATES,
  LIFECYCLE_STATUSES,
  WORKLOAD_STATES,
} from './terminology';
import { callbackRecord } from './webhooks';
import { commandRecord, RUN_ENDS } from './work-writes';

/** What the API shows of a workload. Times are RFC 3339 in UTC, judged by the ledger's clock. */

const time = z.iso.datetime();
const count = z.int().nonnegative();
const code = z.string();

/** One rule's part in a decision. `error` is a code and never holds values of the event. */
const ruleTrace = z
  .object({
    rule_id: z.string(),
    outcome: z.enum(['matched', 'not_matched', 'error', 'not_reached']),
    error: code.optional(),
  })
  .meta({ id: 'RuleTrace' });

/** What policy said of the event: one immutable record. */
export const decisionRecord = z
  .object({
    decision: z.enum(DECISIONS),
    /** The rule that matched; null when the policy's default decided or there was no policy. */
    rule_id: z.string().nullable(),
    policy_version: z.int().nullable(),
    policy_hash: z.string().nullable(),
    reason: code,
    dedupe_key: z.string().nullable(),
    /** The workload that held the dedupe key, when the decision is `duplicate`. */
    duplicate_of: z.string().nullable(),
    /** The command, filled in from the event; null when none is run, and once the event's body was pruned. */
    run: runSpec.nullable(),
    /** Rule by rule, up to the one that matched. */
    trace: z.array(ruleTrace),
    decided_at: time,
  })
  .meta({ id: 'Decision' });
export type DecisionRecord = z.infer<typeof decisionRecord>;

/** A workload as lists show it. */
export const workloadSummary = z
  .object({
    workload_id: z.string(),
    state: z.enum(WORKLOAD_STATES),
    /** Why it is in this state: a stable code, or the words of the policy. */
    reason: code,
    source: z.string(),
    action: z.string(),
    event_id: z.string(),
    subject: z.string().nullable(),
    rule_id: z.string().nullable(),
    pool_id: z.string().nullable(),
    executor: z.enum(EXECUTORS).nullable(),
    /** 1 (first) to 5 (last); null before admission. */
    priority: z.int().nullable(),
    /** Number of the latest delivery; 0 before the first. */
    delivery: count,
    /** The clock it runs against now. */
    deadline: z.object({ kind: z.enum(DEADLINES), at: time }).nullable(),
    /** The gate at which it waits for its turn; null when it waits at none. */
    waiting_for: z.enum(GATES).nullable(),
    /** When that gate opens by itself; null when it is not a matter of time, or others come first. */
    opens_at: time.nullable(),
    /** Nothing more can happen without an operator. */
    closed: z.boolean(),
    /** A report after `lost` corrected the outcome. */
    corrected: z.boolean(),
    /** An earlier delivery was seen at work beside a later one. */
    double_execution: z.boolean(),
    /** It was cancelled when it had been handed over; the executor may still do it. */
    may_still_run: z.boolean(),
    accepted_at: time,
    updated_at: time,
    ended_at: time.nullable(),
  })
  .meta({ id: 'WorkloadSummary' });
export type WorkloadSummaryRecord = z.infer<typeof workloadSummary>;

/** One handing over to an executor. */
const deliveryRecord = z
  .object({
    number: count,
    /** The id it carries on the wire. */
    delivery_id: z.string(),
    executor: z.enum(EXECUTORS),
    worker_id: z.string(),
    pool_id: z.string(),
    /** Fencing epoch of the lease it was made under; of a runner's job, of the one it was last waited for under. */
    epoch: count,
    intent_at: time,
    /**
     * `intended`: the write was not reported. `unknown`: it may be in the pipe or not. Of a command, whether it was started, so that
     * `intended` is also one that was refused.
     */
    write: z.enum(['intended', 'written', 'unknown', 'not_written']),
    written_at: time.nullable(),
    status: code.nullable(),
    started_at: time.nullable(),
    ended_at: time.nullable(),
    executor_instance: z.string().nullable(),
    executor_attempt: z.int().nullable(),
    double_execution: z.boolean(),
    /** Since when its executor was restarted with nothing heard of this delivery: it may be lost. */
    suspect_since: time.nullable(),
    /** What a command's target told of itself, such as the job of a runner; null when nothing was. */
    target: executionHandle.nullable(),
    /** The execution envelope, in its own spelling; null while it runs and for OpenCrow. */
    execution: executionEnvelope.nullable(),
    /** How managed work ended by its worker's word; null before, and of other executors. */
    run: z.object({ status: z.enum(RUN_ENDS), code: code.nullable(), summary: z.string().nullable() }).nullable(),
    /** What it left, by name. */
    artifacts: z.array(artifactRecord),
  })
  .meta({ id: 'Delivery' });

/** The right to act for it, as it stands or was last; its token is never shown. */
const leaseRecord = z
  .object({
    worker_id: z.string(),
    /** One more with each claim. */
    epoch: count,
    status: z.enum(LEASE_STATES),
    /** How often it was claimed, those claims not counted that were given back before work began. */
    attempt: count,
    claimed_at: time,
    expires_at: time,
    /** The last renewal or write under it. */
    last_heartbeat_at: time.nullable(),
    completed_at: time.nullable(),
    failed_at: time.nullable(),
  })
  .meta({ id: 'Lease' });

/** One report of an executor, and what it did. */
const lifecycleReport = z
  .object({
    delivery_id: z.string(),
    delivery_number: count.nullable(),
    event_id: z.string(),
    status: z.enum(LIFECYCLE_STATUSES),
    /** As the executor wrote it. */
    occurred_at: z.string(),
    received_at: time,
    worker_id: z.string(),
    effect: z.enum(LIFECYCLE_EFFECTS),
    note: code.nullable(),
    /** Untrusted text of the executor. */
    error: z.string().nullable(),
    reply_suppressed: z.boolean().nullable(),
  })
  .meta({ id: 'LifecycleReport' });

/** One row of the audit. */
const timelineEntry = z
  .object({
    seq: count,
    at: time,
    type: code,
    /** Who or what: `policy`, `token:<id>`, `worker:<id>`, `executor:<id>`, `deadline`. */
    actor: z.string(),
    detail: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'TimelineEntry' });

/** One posting of a past event once more. */
export const replayRecord = z
  .object({
    /** The other side: of `replay_of` the original, in `replays` the new workload. */
    workload_id: z.string(),
    /** The operator's words. */
    reason: z.string(),
    actor: z.string(),
    at: time,
    /** It was allowed to go on though another workload holds its dedupe key. */
    bypass_dedupe: z.boolean(),
    /** The workload that held the key when it did so. */
    bypassed_holder: z.string().nullable(),
  })
  .meta({ id: 'Replay' });
export type ReplayRecord = z.infer<typeof replayRecord>;
/** An event that is covered by another one's workload. */
const absorbedEvent = z
  .object({ workload_id: z.string(), event_id: z.string(), how: z.enum(ABSORBED_HOW), at: time })
  .meta({ id: 'AbsorbedEvent' });

/** Approval of a workload that was held. */
const holdRecord = z
  .object({
    asked_at: time,
    /** When `then` decides. */
    deadline_at: time,
    then: z.enum(['deny', 'dispatch']),
    /** `expired`: nobody answered, and `then` decided. Null while it is waited for, and when it was cancelled. */
    answer: z.enum(['approved', 'denied', 'expired']).nullable(),
    /** Who answered, e.g. `token:<id>`. */
    by: z.string().nullable(),
    at: time.nullable(),
    /** Why, in their words. */
    reason: z.string().nullable(),
  })
  .meta({ id: 'Hold' });

/** Rows of each kind that a record shows at most; of more the newest. */
export const MAX_RECORD_ROWS = 1000;

/** Everything the ledger knows of one workload. */
export const workloadRecord = workloadSummary
  .extend({
    event: z.object({
      source: z.string(),
      action: z.string(),
      event_id: z.string(),
      subject: z.string().nullable(),
      occurred_at: z.string().nullable(),
      received_at: time,
      /** As posted; null once it was pruned. */
      data: z.record(z.string(), z.unknown()).nullable(),
      /** As posted; absent where it had none or they were pruned. */
      attributes: z.record(z.string(), z.unknown()).optional(),
    }),
    /** Null before admission. */
    decision: decisionRecord.nullable(),
    /** What its deliveries may ask of hooks, and did; null when nothing is granted. */
    capabilities: capabilitiesRecord.nullable(),
    /** Null unless policy said `hold`. */
    hold: holdRecord.nullable(),
    /** The workload that covers this event; null when it stands for itself. */
    absorbed_by: z.string().nullable(),
    /** Events that this workload covers, also through others, in order; at most 1,000. */
    absorbed: z.array(absorbedEvent),
    /** Null before the first claim. */
    lease: leaseRecord.nullable(),
    /** In order; at most the newest 1,000, as `lifecycle` and `timeline` are. */
    deliveries: z.array(deliveryRecord),
    /** Commands of its session and where they stand, by their sequence; at most 1,000. */
    commands: z.array(commandRecord),
    /** In the order received. */
    lifecycle: z.array(lifecycleReport),
    /** The audit rows of the workload, in order. */
    timeline: z.array(timelineEntry),
    /** The workload whose event was posted again as this one. */
    replay_of: replayRecord.nullable(),
    /** The times this one's event was posted again, in order; at most the newest 1,000. */
    replays: z.array(replayRecord),
    /** Who is told of its changes, and how far that has come; the URLs are secrets and not shown. */
    callbacks: z.array(callbackRecord),
  })
  .meta({ id: 'Workload' });
export type WorkloadRecord = z.infer<typeof workloadRecord>;
