import { createHash } from 'node:crypto';
import type { SourceEvent } from '../contracts/events';
import type { RuleSnapshot } from '../contracts/policy';
import type { Decision } from '../contracts/terminology';
import type { WorkloadView } from '../contracts/workflow';
import { debugPoint } from '../domain/debug-point';
import type { Evaluation } from '../domain/policy/evaluate';
import type { WorkloadTerms } from '../domain/workload-progress';
import { recordGrants } from './capability-grants';
import type { LaneSpec } from '../domain/lane-specs';
import { noteAbsorbed } from './absorbed';
import { ADMISSION_IS_LIMITED, enterWithinLimits, type Admitted } from './admission-charges';
import { applyFact } from './change';
import { commandRunOf, viewWith } from './command-runs';
import type { Database, Queryable } from './database';
import { enterLanes, lockLanesOf, type Entered } from './enter-lanes';
import { policyVersion } from './policies';
import { bypassesDedupe } from './replays';
import { poolFor } from './routing';
import { lockWorkload, viewOf, type WorkloadRow } from './workload-row';

/** The policy that decides an event; its text is read only when it is not compiled yet. */
export interface PolicyInForce {
  version: number;
  hash: string;
  source(): Promise<string>;
}

/** Judges an event by a policy. */
export type Evaluate = (policy: PolicyInForce, event: SourceEvent, tenantId: string) => Promise<Evaluation>;

const NO_POLICY: Evaluation = {
  decision: 'ignore',
  ruleId: null,
  reason: 'no_policy',
  rule: null,
  dedupeKey: null,
  grants: [],
  run: null,
  trace: [],
};

/**
 * Decides one event, once: policy, dedupe claim and decision record in one transaction. A workload that was admitted before
 * is returned as it stands, so a re-run ends in the same place. Null when there is no such workload.
 */
export async function admit(db: Database, evaluate: Evaluate, workloadId: string): Promise<WorkloadView | null> {
  return db.transaction(async (tx) => {
    const row = await lockWorkload(tx, workloadId);
    if (!row || row.state !== 'accepted') return row && viewWith(row, await commandRunOf(tx, row));

    const { event, policy, limited } = await readCase(tx, row);
    const evaluation = policy ? await evaluate(policy, event, row.tenant_id) : NO_POLICY;
    const poolId = await destinationOf(tx, row, evaluation);
    const specs = await lockLanesOf(tx, row, evaluation);
    const held = await claimKey(tx, row, evaluation);
    const holder = held !== null && (await bypassesDedupe(tx, row, held)) ? null : held;
    const enter = (): Promise<Entered> => enterLanes(tx, row, evaluation, specs);
    const entered =
      holder !== null
        ? droppedFor(holder)
        : poolId === null && toDo(evaluation)
          ? strandedAt(evaluation, specs)
          : limited
            ? await enterWithinLimits(tx, row, poolId, enter)
            : { ...(await enter()), refusal: null };
    const { decision, reason, absorbedBy, lanes, gate, refusal } = entered;
    if (holder !== null) await noteAbsorbed(tx, row.workload_id, holder, 'dropped');

    await recordDecision(tx, row, { policy, evaluation, decision, reason, holder: absorbedBy, lanes, poolId });
    if (decision === evaluation.decision) await recordGrants(tx, row, evaluation.grants);
    const admitted = { ...row, ...dispatchColumns(evaluation, poolId), lanes };
    const change = await applyFact(
      tx,
      admitted,
      { type: 'admitted', decision, reason, gate, ...(refusal && { refused: refusal.reason }) },
      {
        actor: 'policy',
        wake: false,
        detail: { decision, rule: evaluation.ruleId, policy_hash: policy?.hash ?? null, ...refusal?.detail },
      },
    );
    debugPoint('admit-uncommitted');
    return viewOf(change.row);
  });
}

const toDo = ({ decision }: Evaluation): boolean => decision === 'dispatch' || decision === 'hold';

/** The pool that the work goes to; null when there is none, or no rule says. */
async function destinationOf(tx: Queryable, row: WorkloadRow, evaluation: Evaluation): Promise<string | null> {
  const to = evaluation.rule?.to;
  return to === undefined || (to.pool === null && !toDo(evaluation)) ? null : poolFor(tx, row.tenant_id, to);
}

/** No pool can do it. The lanes it would have to pass are kept: an operator may have it handed over once one can. */
const strandedAt = ({ decision, reason }: Evaluation, specs: LaneSpec[]): Admitted => ({
  decision,
  reason,
  absorbedBy: null,
  lanes: specs.length > 0 ? specs : null,
  gate: null,
  refusal: { reason: 'no_pool', detail: {} },
});

const droppedFor = (holder: string): Admitted => ({
  decision: 'duplicate',
  reason: 'dedupe_key_held',
  absorbedBy: holder,
  lanes: null,
  gate: null,
  refusal: null,
});

async function readCase(
  tx: Queryable,
  row: WorkloadRow,
): Promise<{ event: SourceEvent; policy: PolicyInForce | null; limited: boolean }> {
  const [read] = await tx.query<{
    body: string | null;
    version: number | null;
    policy_hash: string | null;
    limited: boolean;
  }>(
    `SELECT e.body, p.version, p.policy_hash, ${ADMISSION_IS_LIMITED} AS limited FROM events e
     JOIN tenants t USING (tenant_id)
     LEFT JOIN policies p ON p.tenant_id = t.tenant_id AND p.version = t.active_policy_version
     WHERE e.workload_id = $1`,
    [row.workload_id],
  );
  if (!read?.body) throw new Error(`event of ${row.workload_id} has no body`);
  const event = JSON.parse(read.body) as SourceEvent;
  const { version, policy_hash: hash, limited } = read;
  if (version === null || hash === null) return { event, policy: null, limited };
  const source = async (): Promise<string> => (await policyVersion(tx, row.tenant_id, version))!.source;
  return { event, policy: { version, hash, source }, limited };
}

/** Claims the rule's dedupe key; null when it is claimed (or none is needed), else the workload that holds it. */
async function claimKey(tx: Queryable, row: WorkloadRow, evaluation: Evaluation): Promise<string | null> {
  const { dedupeKey, rule } = evaluation;
  if (dedupeKey === null || rule?.dedupe?.on_duplicate !== 'drop' || !toDo(evaluation)) {
    return null;
  }
  return claimDedupeKey(tx, row, dedupeKey, rule.dedupe.window);
}

/**
 * Takes a dedupe key for a workload. A key is held while its workload is open and until its window is over; the same
 * workload may take its own key again. Returns the holder when the key is not free.
 */
export async function claimDedupeKey(
  tx: Queryable,
  row: Pick<WorkloadRow, 'tenant_id' | 'workload_id'>,
  key: string,
  windowMs: number,
): Promise<string | null> {
  const keyHash = createHash('sha256').update(key).digest();
  const claimed = await tx.query(
    `INSERT INTO dedupe_claims AS held (tenant_id, key_hash, workload_id, claimed_at, window_until)
     VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp() + $4::float8 * interval '1 millisecond')
     ON CONFLICT (tenant_id, key_hash) DO UPDATE SET
       workload_id = excluded.workload_id, claimed_at = excluded.claimed_at, window_until = excluded.window_until, open = true
     WHERE held.workload_id = excluded.workload_id OR (NOT held.open AND held.window_until <= clock_timestamp())
     RETURNING workload_id`,
    [row.tenant_id, keyHash, row.workload_id, windowMs],
  );
  if (claimed.length > 0) return null;
  const [holder] = await tx.query<{ workload_id: string }>(
    'SELECT workload_id FROM dedupe_claims WHERE tenant_id = $1 AND key_hash = $2',
    [row.tenant_id, keyHash],
  );
  return holder!.workload_id;
}

interface DecisionRecord {
  policy: PolicyInForce | null;
  evaluation: Evaluation;
  decision: Decision;
  reason: string;
  holder: string | null;
  lanes: LaneSpec[] | null;
  poolId: string | null;
}

async function recordDecision(tx: Queryable, row: WorkloadRow, record: DecisionRecord): Promise<void> {
  const { policy, evaluation } = record;
  const columns = dispatchColumns(evaluation, record.poolId);
  await tx.query(
    `WITH decision AS (
       INSERT INTO decisions (workload_id, tenant_id, decision, rule_id, policy_version, policy_hash, reason, rule,
         dedupe_key, duplicate_of, trace, run)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $18)
     )
     UPDATE workloads SET rule_id = $4, pool_id = $12, executor = $13, priority = $14, terms = $15, max_deliveries = $16,
       lanes = $17, requires = $19
     WHERE workload_id = $1`,
    [
      row.workload_id,
      row.tenant_id,
      record.decision,
      evaluation.ruleId,
      policy?.version ?? null,
      policy?.hash ?? null,
      record.reason,
      evaluation.rule && JSON.stringify(evaluation.rule),
      evaluation.dedupeKey,
      record.holder,
      JSON.stringify(evaluation.trace),
      columns.pool_id,
      columns.executor,
      columns.priority,
      columns.terms && JSON.stringify(columns.terms),
      columns.max_deliveries,
      record.lanes && JSON.stringify(record.lanes),
      evaluation.run && JSON.stringify(evaluation.run),
      columns.requires && JSON.stringify(columns.requires),
    ],
  );
}

type DispatchColumns = Pick<
  WorkloadRow,
  'rule_id' | 'pool_id' | 'executor' | 'priority' | 'requires' | 'terms' | 'max_deliveries'
>;

function dispatchColumns({ ruleId, rule }: Evaluation, poolId: string | null): DispatchColumns {
  return {
    rule_id: ruleId,
    pool_id: poolId,
    requires: rule?.to?.requires ?? null,
    executor: rule?.to?.executor ?? null,
    priority: rule?.to?.priority ?? null,
    terms: rule ? termsOf(rule) : null,
    max_deliveries: rule?.retry?.max_deliveries ?? 1,
  };
}

function termsOf(rule: RuleSnapshot): WorkloadTerms {
  return {
    deadlines: rule.deadlines,
    hold: rule.hold ?? { deadline: 0, then: 'deny' },
    redeliverOn: rule.retry.redeliver_on,
    maxDeliveries: rule.retry.max_deliveries,
  };
}
