import type { SourceEvent } from '../contracts/events';
import { MAX_EXPLAINED_STEPS, type WorkloadExplanation } from '../contracts/explanation';
import type { RuleSnapshot } from '../contracts/policy';
import type { RunSpec } from '../contracts/run';
import type { Decision } from '../contracts/terminology';
import type { ReplayRecord } from '../contracts/workload-record';
import type { RuleTrace } from '../domain/policy/evaluate';
import type { CompiledPolicy } from '../domain/policy/compile';
import { PolicyInvalid } from '../domain/policy/policy-invalid';
import { explainRecorded, policySaid, type RecordedDecision } from '../domain/policy/recorded-decision';
import { summarize } from '../domain/explanation-summary';
import { isOffered } from '../domain/workload-state';
import { claimantsOf } from './capacity';
import type { Queryable } from './database';
import { REPLAY_COLUMNS, replayRecordOf } from './replay-record';
import type { WorkloadRow } from './workload-row';

/** Gives the stored policy of a hash, compiled. */
export type CompilePolicy = (policy: { hash: string; source: () => Promise<string> }) => Promise<CompiledPolicy>;

interface StoredCase extends WorkloadRow {
  event: { body: string | null; body_sha256: string; received_at: string };
  decision: StoredDecision | null;
  policy_source: string | null;
  grants: (WorkloadExplanation['grants'][number] & { number: number })[];
  held_by: NonNullable<WorkloadExplanation['dedupe']>['held_by'];
  window_until: string | null;
  steps: { at: string; type: string; actor: string; detail: { reason?: unknown; operator_reason?: unknown } }[];
  replay_of: ReplayRecord | null;
  replays: ReplayRecord[];
}

interface StoredDecision {
  decision: Decision;
  rule_id: string | null;
  policy_version: number | null;
  policy_hash: string | null;
  reason: string;
  rule: string | null;
  dedupe_key: string | null;
  duplicate_of: string | null;
  trace: string;
  run: string | null;
  decided_at: string;
}

/** One statement, so that it is one moment's truth. Steps of the decision itself, and of capabilities but their revocation, are left out. */
const CASE = `
SELECT w.*,
  (SELECT row_to_json(e) FROM (
     SELECT body, encode(body_hash, 'hex') AS body_sha256, received_at FROM events WHERE workload_id = w.workload_id) e) AS event,
  (SELECT row_to_json(d) FROM (
     SELECT decision, rule_id, policy_version, policy_hash, reason, rule, dedupe_key, duplicate_of, trace, run, decided_at
     FROM decisions WHERE workload_id = w.workload_id) d) AS decision,
  p.source AS policy_source,
  (SELECT coalesce(json_agg(g ORDER BY g.number), '[]') FROM (
     SELECT number, hook, kind, operations, literals, globs, max_uses, ttl_ms FROM capability_grants
     WHERE workload_id = w.workload_id) g) AS grants,
  (SELECT row_to_json(h) FROM (
     SELECT workload_id, state, source, event_id FROM workloads
     WHERE workload_id = coalesce(d.duplicate_of, r.bypassed_holder) AND tenant_id = w.tenant_id) h) AS held_by,
  (SELECT to_json(max(window_until)) #>> '{}' FROM dedupe_claims WHERE workload_id = w.workload_id) AS window_until,
  (SELECT coalesce(json_agg(a ORDER BY a.seq), '[]') FROM (
     SELECT seq, at, type, actor, detail FROM audit
     WHERE workload_id = w.workload_id AND (type LIKE 'workload.%' OR type = 'capability.revoked') AND actor <> 'policy' ORDER BY seq DESC LIMIT $3 + 1) a) AS steps,
  (SELECT row_to_json(o) FROM (
     SELECT replay_of AS workload_id, ${REPLAY_COLUMNS} FROM replays WHERE workload_id = w.workload_id) o) AS replay_of,
  (SELECT coalesce(json_agg(n ORDER BY n.at), '[]') FROM (
     SELECT workload_id, ${REPLAY_COLUMNS} FROM replays
     WHERE replay_of = w.workload_id ORDER BY replayed_at DESC LIMIT $3) n) AS replays
FROM workloads w
LEFT JOIN decisions d ON d.workload_id = w.workload_id
LEFT JOIN policies p ON p.tenant_id = w.tenant_id AND p.version = d.policy_version
LEFT JOIN replays r ON r.workload_id = w.workload_id
WHERE w.workload_id = $1 AND w.tenant_id = $2`;

/** Why a tenant's workload was decided as it was, rule by rule; null when the tenant has no such workload. */
export async function explainWorkload(
  db: Queryable,
  compile: CompilePolicy,
  { tenantId, workloadId }: { tenantId: string; workloadId: string },
): Promise<WorkloadExplanation | null> {
  const [stored] = await db.query<StoredCase>(CASE, [workloadId, tenantId, MAX_EXPLAINED_STEPS]);
  if (!stored) return null;
  const { decision } = stored;
  const event = stored.event.body === null ? null : (JSON.parse(stored.event.body) as SourceEvent);
  const explanation: Omit<WorkloadExplanation, 'summary'> = {
    workload_id: workloadId,
    event: {
      source: stored.source,
      action: stored.action,
      event_id: stored.event_id,
      subject: stored.subject,
      occurred_at: event?.occurred_at ?? null,
      received_at: utc(stored.event.received_at),
      body_sha256: stored.event.body_sha256,
      body_kept: event !== null,
    },
    ...(decision ? await decidedPart(compile, stored, decision, event) : UNDECIDED),
    grants: stored.grants.map(({ number: _number, ...grant }) => grant),
    dedupe: dedupeOf(stored),
    ...stepsOf(stored),
    outcome: {
      state: stored.state,
      reason: stored.reason,
      closed: stored.closed,
      ended_at: stored.ended_at?.toISOString() ?? null,
      deliveries: stored.delivery,
      corrected: stored.corrected,
      double_execution: stored.double_execution,
      may_still_run: stored.may_still_run,
    },
    claimants: isOffered({ state: stored.state, waitingFor: stored.waiting_for })
      ? await claimantsOf(db, stored)
      : null,
    replay_of: stored.replay_of && replayRecordOf(stored.replay_of),
    replays: stored.replays.map(replayRecordOf),
  };
  return { ...explanation, summary: summarize(explanation) };
}

type DecidedPart = Pick<
  WorkloadExplanation,
  'decision' | 'policy' | 'recomputed' | 'not_recomputed_because' | 'rules' | 'rule' | 'run'
>;

const UNDECIDED: DecidedPart = {
  decision: null,
  policy: null,
  recomputed: false,
  not_recomputed_because: 'not_decided',
  rules: [],
  rule: null,
  run: null,
};

async function decidedPart(
  compile: CompilePolicy,
  stored: StoredCase,
  decision: StoredDecision,
  event: SourceEvent | null,
): Promise<DecidedPart> {
  const recorded = recordedOf(decision);
  const policy = await policyOf(compile, decision.policy_hash, stored.policy_source);
  const { rules, notRecomputed } = explainRecorded(recorded, event, policy, { tenant: stored.tenant_id });
  return {
    decision: {
      decision: decision.decision,
      rule_id: decision.rule_id,
      reason: decision.reason,
      decided_at: utc(decision.decided_at),
      policy_said: policySaid(recorded).decision,
    },
    policy:
      decision.policy_version === null || decision.policy_hash === null
        ? null
        : { version: decision.policy_version, policy_hash: decision.policy_hash },
    recomputed: notRecomputed === null,
    not_recomputed_because: notRecomputed,
    rules: rules.map(({ ruleId, ...rest }) => ({ rule_id: ruleId, ...rest })),
    rule: recorded.rule && { ...recorded.rule },
    run: recorded.run,
  };
}

/** A decision as the table `decisions` has it, read. */
export function recordedOf(
  row: Pick<StoredDecision, 'decision' | 'rule_id' | 'reason' | 'rule' | 'dedupe_key' | 'trace' | 'run'>,
): RecordedDecision {
  return {
    decision: row.decision,
    ruleId: row.rule_id,
    reason: row.reason,
    rule: row.rule === null ? null : (JSON.parse(row.rule) as RuleSnapshot),
    dedupeKey: row.dedupe_key,
    trace: JSON.parse(row.trace) as RuleTrace[],
    run: row.run === null ? null : (JSON.parse(row.run) as RunSpec),
  };
}

/** The policy that decided; a text that is not taken any more, or that is not the one of the hash, is `unreadable`. */
async function policyOf(
  compile: CompilePolicy,
  hash: string | null,
  source: string | null,
): Promise<CompiledPolicy | null | 'unreadable'> {
  if (hash === null) return null;
  if (source === null) return 'unreadable';
  try {
    const policy = await compile({ hash, source: () => Promise.resolve(source) });
    return policy.hash === hash ? policy : 'unreadable';
  } catch (error) {
    if (error instanceof PolicyInvalid) return 'unreadable';
    throw error;
  }
}

function dedupeOf({ decision, held_by, window_until, replay_of }: StoredCase): WorkloadExplanation['dedupe'] {
  if (!decision || decision.dedupe_key === null) return null;
  const bypassed = replay_of !== null && replay_of.bypassed_holder !== null;
  return {
    key: decision.dedupe_key,
    outcome: decision.duplicate_of !== null ? 'held' : bypassed ? 'bypassed' : 'claimed',
    held_by,
    window_until: window_until === null ? null : utc(window_until),
  };
}

function stepsOf({ steps }: StoredCase): Pick<WorkloadExplanation, 'afterwards' | 'afterwards_truncated'> {
  return {
    afterwards: steps.slice(-MAX_EXPLAINED_STEPS).map(({ at, type, actor, detail }) => ({
      at: utc(at),
      type,
      actor,
      reason: textOf(detail.operator_reason) ?? textOf(detail.reason),
    })),
    afterwards_truncated: steps.length > MAX_EXPLAINED_STEPS,
  };
}

const textOf = (value: unknown): string | null => (typeof value === 'string' ? value : null);
const utc = (time: string): string => new Date(time).toISOString();
