import { z } from 'zod';
import { CAPABILITY_KINDS } from './capabilities';
import { RULE_DECISIONS } from './policy';
import { runSpec } from './run';
import { DECISIONS, WORKLOAD_STATES } from './terminology';
import { replayRecord } from './workload-record';

const time = z.iso.datetime();

/** One rule's part in a decision, with a sentence. */
export const ruleExplanation = z
  .object({
    rule_id: z.string(),
    outcome: z.enum(['matched', 'not_matched', 'error', 'not_reached']),
    error: z.string().optional(),
    /** In words; quotes the policy and never the event. */
    text: z.string(),
  })
  .meta({ id: 'RuleExplanation' });

/** A workload that this one has to do with. */
const otherWorkload = z
  .object({
    workload_id: z.string(),
    state: z.enum(WORKLOAD_STATES),
    source: z.string(),
    event_id: z.string(),
  })
  .meta({ id: 'OtherWorkload' });

/** Steps that an explanation shows at most; of more the newest. */
export const MAX_EXPLAINED_STEPS = 200;

/** Why a workload was decided as it was, and what became of it. */
export const workloadExplanation = z
  .object({
    workload_id: z.string(),
    event: z.object({
      source: z.string(),
      action: z.string(),
      event_id: z.string(),
      subject: z.string().nullable(),
      occurred_at: z.string().nullable(),
      received_at: time,
      /** Over the event as key-sorted JSON, lower-case hex; kept when the body is pruned. */
      body_sha256: z.string(),
      body_kept: z.boolean(),
    }),
    /** As recorded; null while it is not decided. */
    decision: z
      .object({
        decision: z.enum(DECISIONS),
        rule_id: z.string().nullable(),
        reason: z.string(),
        decided_at: time,
        /** What policy said before the dedupe claim; `decision` differs from it for a duplicate. */
        policy_said: z.enum(RULE_DECISIONS),
      })
      .nullable(),
    /** The version that decided; null when the tenant had none. */
    policy: z.object({ version: z.int(), policy_hash: z.string() }).nullable(),
    /**
     * The stored policy was asked again about the stored event and said exactly what was recorded, so `rules` says why. Else the
     * recorded outcomes stand alone, and `not_recomputed_because` says why.
     */
    recomputed: z.boolean(),
    not_recomputed_because: z
      .enum(['not_decided', 'body_pruned', 'policy_unreadable', 'recomputation_differs'])
      .nullable(),
    /** In the order of the policy. Without recomputation up to the rule that matched. */
    rules: z.array(ruleExplanation),
    /** The matched rule as it was, every default filled in: terms, limits, grants. Durations in milliseconds. */
    rule: z.record(z.string(), z.unknown()).nullable(),
    /** The command, filled in from the event; null when none is run, and once the event's body was pruned. */
    run: runSpec.nullable(),
    /** What each delivery was granted, resolved for this event. */
    grants: z.array(
      z.object({
        hook: z.string(),
        kind: z.enum(CAPABILITY_KINDS),
        operations: z.array(z.string()),
        /** Resources to the letter, and patterns of the policy. */
        literals: z.array(z.string()),
        globs: z.array(z.string()),
        max_uses: z.int(),
        ttl_ms: z.int(),
      }),
    ),
    /** Null when the decision used no dedupe key. */
    dedupe: z
      .object({
        key: z.string(),
        /** `bypassed`: a replay went on without the key, which `held_by` had. */
        outcome: z.enum(['claimed', 'held', 'bypassed']),
        /** Who had the key instead; as it stands now. */
        held_by: otherWorkload.nullable(),
        /** Until when at least this workload's own claim keeps the key; null when it has none any more. */
        window_until: time.nullable(),
      })
      .nullable(),
    /** What came after the decision, by whom and why, in order. */
    afterwards: z.array(
      z.object({
        at: time,
        /** As in the record's `timeline`. */
        type: z.string(),
        actor: z.string(),
        /** The operator's words, else a code. */
        reason: z.string().nullable(),
      }),
    ),
    /** There were more than 200 steps; the oldest are left out. */
    afterwards_truncated: z.boolean(),
    outcome: z.object({
      state: z.enum(WORKLOAD_STATES),
      reason: z.string(),
      closed: z.boolean(),
      ended_at: time.nullable(),
      deliveries: z.int(),
      corrected: z.boolean(),
      double_execution: z.boolean(),
      may_still_run: z.boolean(),
    }),
    /** Who may claim it now; null unless it is offered to workers. */
    claimants: z
      .object({
        pool_status: z.string(),
        /** Active workers of its pool that were heard of within a minute. */
        workers: z.int(),
        /** Those of them that may have it. */
        eligible: z.int(),
        /** What keeps the others from it. */
        because: z.array(z.string()),
      })
      .nullable(),
    replay_of: replayRecord.nullable(),
    /** In order; at most the newest 200. */
    replays: z.array(replayRecord),
    /** All of it in plain sentences. */
    summary: z.array(z.string()),
  })
  .meta({ id: 'WorkloadExplanation' });
export type WorkloadExplanation = z.infer<typeof workloadExplanation>;
