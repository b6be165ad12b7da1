import { randomBytes } from 'node:crypto';
import type { CapabilityGrant } from '../../contracts/capabilities';
import type { SourceEvent } from '../../contracts/events';
import { deliveryIdOf } from '../../contracts/names';
import type { LifecycleEvent } from '../../contracts/lifecycle';
import type { FlowSnapshot, OnDuplicate } from '../../contracts/flow-control';
import { DEFAULT_DEADLINES } from '../../contracts/deadlines';
import type { RuleSnapshot } from '../../contracts/policy';
import type { RunSpec } from '../../contracts/run';
import type { Requirements } from '../../contracts/requirements';
import { Problem, type ProblemCode } from '../../contracts/problems';
import { isCommandExecutor, type ExecutorKind, type LifecycleStatus } from '../../contracts/terminology';
import type { Claim, IntentGranted } from '../../contracts/worker-protocol';
import type { WorkloadView } from '../../contracts/workflow';
import type { FlowKeys } from '../../domain/policy/flow-keys';
import { parsePolicy } from '../../domain/policy/parse';
import { acceptEvent } from '../../ledger/accept';
import { admit, type Evaluate } from '../../ledger/admission';
import { claim } from '../../ledger/claims';
import type { ClaimOptions } from '../../ledger/grant-lease';
import { Database, type Queryable } from '../../ledger/database';
import { recordIntent } from '../../ledger/deliveries';
import type { FencedWrite } from '../../ledger/fenced-write';
import type { LeaseRow } from '../../ledger/lease';
import { recordLifecycle, type RecordedLifecycle } from '../../ledger/lifecycle';
import { operate, type OperatorAction } from '../../ledger/operator-actions';
import { activatePolicy } from '../../ledger/policies';
import { dueLanes, pumpLane } from '../../ledger/pump';
import { settle } from '../../ledger/settlement';
import { enrolWorker } from '../../ledger/enrol-worker';
import { authenticateWorker, type WorkerPrincipal } from '../../ledger/workers';
import type { WorkloadRow } from '../../ledger/workload-row';
import { eventually } from './eventually';
import { freshLedgerSchema, type FreshSchema } from './fresh-schema';
import { policyText } from './policy';

/** What a test says of the rule that decides its event; the rest is a plain dispatch to the test's pool. */
export interface TestRule {
  decision?: RuleSnapshot['decision'];
  /** Null: chosen at admission. */
  pool?: string | null;
  requires?: Requirements;
  /** Milliseconds; the bounds of the policy language do not apply. */
  deadlines?: Partial<RuleSnapshot['deadlines']>;
  retry?: RuleSnapshot['retry'];
  hold?: RuleSnapshot['hold'];
  grants?: CapabilityGrant[];
  dedupe?: { key: string; window?: number; on_duplicate?: OnDuplicate };
  flow?: Partial<FlowSnapshot>;
  flowKeys?: FlowKeys<string>;
  /** Default `opencrow`. */
  executor?: ExecutorKind;
  /** Of a command; the rest of it is that of {@link aRun}. */
  run?: Partial<RunSpec>;
  id?: string;
}

/** A row of `deliveries`. */
export interface DeliveryRow {
  number: number;
  write: string;
  status: string | null;
  worker_id: string;
  slot_until: Date | null;
  started_at: Date | null;
  ended_at: Date | null;
  double_execution: boolean;
  suspect_since: Date | null;
  target: string | null;
  execution: string | null;
}

/** A row of `audit`. */
export interface AuditRow {
  type: string;
  actor: string;
  detail: Record<string, unknown>;
}

/** A workload that was handed over, and by whom. */
export interface Delivered {
  workId: string;
  principal: WorkerPrincipal;
  claim: Claim;
  write: FencedWrite;
  intent: IntentGranted;
}

/** First wait of a suspect slot in these tests, unless one says another. */
const SUSPECT_BACKOFF_MS = 60_000;

/** The real ledger on a schema of its own: migrated, with one worker to enrol and one event to accept at a time. */
export class FreshLedger {
  private ids = 0;

  private constructor(
    readonly schema: FreshSchema,
    readonly db: Database,
  ) {}

  static async open(options: { maxConnections?: number } = {}): Promise<FreshLedger> {
    const schema = await freshLedgerSchema();
    const db = new Database({ connection: schema.connection, ...options });
    const ledger = new FreshLedger(schema, db);
    await ledger.putPolicy('{ id: all, when: "true", decision: dispatch }');
    return ledger;
  }

  async close(): Promise<void> {
    await this.db.close();
    await this.schema.drop();
  }

  /** A name that no other thing in this ledger has. */
  unique(prefix: string): string {
    this.ids += 1;
    return `${prefix}-${this.ids}`;
  }

  /** Makes a policy of these rules the active one of tenant `default`. */
  async putPolicy(...rules: string[]): Promise<void> {
    const source = policyText(...rules);
    await activatePolicy(this.db, 'default', { source, hash: parsePolicy(source).policy.hash }, 'test');
  }

  /** Makes another tenant with a policy of its own. */
  async tenant(): Promise<string> {
    const tenantId = this.unique('tenant');
    await this.db.query('INSERT INTO tenants (tenant_id) VALUES ($1)', [tenantId]);
    const source = policyText('{ id: all, when: "true", decision: dispatch }');
    await activatePolicy(this.db, tenantId, { source, hash: parsePolicy(source).policy.hash }, 'test');
    return tenantId;
  }

  /** Accepts a new event; its workload is `accepted`. */
  async accept(fields: Partial<SourceEvent> = {}, tenantId = 'default'): Promise<string> {
    const event = { source: 'rss', action: 'triage', event_id: this.unique('event'), data: {}, ...fields };
    return (await acceptEvent(this.db, tenantId, event, 'test')).workloadId;
  }

  /** Decides an accepted event by a rule of the test's own. */
  async admit(workId: string, rule: TestRule = {}): Promise<WorkloadView> {
    return (await admit(this.db, evaluateAs(rule), workId))!;
  }

  /** Accepts an event and decides it. */
  async admitted(rule: TestRule = {}, tenantId = 'default'): Promise<string> {
    const workId = await this.accept({}, tenantId);
    await this.admit(workId, rule);
    return workId;
  }

  /** Enrols a worker; in a pool of its own unless told. */
  async enrol(
    options: { pool?: string; maxOpenDeliveries?: number; workerId?: string } = {},
  ): Promise<WorkerPrincipal> {
    const workerId = options.workerId ?? this.unique('worker');
    const { plaintext } = await enrolWorker(this.db, {
      workerId,
      poolId: options.pool ?? `pool-of-${workerId}`,
      ...(options.maxOpenDeliveries === undefined ? {} : { maxOpenDeliveries: options.maxOpenDeliveries }),
      actor: 'test',
    });
    return (await authenticateWorker(this.db, plaintext.reveal()))!;
  }

  /** Claims a workload and says how to write under the lease. */
  async claim(
    principal: WorkerPrincipal,
    workId: string,
    options: ClaimOptions = {},
  ): Promise<{ claim: Claim; write: FencedWrite }> {
    const claimed = await claim(this.db, principal, workId, options);
    return { claim: claimed, write: { principal, workId, leaseToken: claimed.lease_token } };
  }

  /** Takes a workload to `delivered`: admits it by the rule (unless it is given), claims it, records the intent. */
  async delivered(
    rule: TestRule = {},
    given: { principal?: WorkerPrincipal; workId?: string } = {},
  ): Promise<Delivered> {
    const principal = given.principal ?? (await this.enrol());
    const workId = given.workId ?? (await this.admitted({ pool: principal.poolId, ...rule }));
    const { claim: claimed, write } = await this.claim(principal, workId);
    return { workId, principal, claim: claimed, write, intent: await recordIntent(this.db, write, intentKey()) };
  }

  /** Reports a lifecycle event of a delivery as the worker's executor. */
  async report(
    principal: WorkerPrincipal,
    workId: string,
    status: LifecycleStatus,
    fields: Partial<LifecycleEvent> & { number?: number } = {},
  ): Promise<RecordedLifecycle> {
    const { number = 1, ...rest } = fields;
    return recordLifecycle(this.db, principal, {
      event_id: this.unique('lifecycle'),
      delivery_id: deliveryIdOf(workId, number),
      status,
      occurred_at: new Date().toISOString(),
      ...rest,
    });
  }

  async operate(workId: string, action: OperatorAction, tenantId = 'default'): Promise<WorkloadRow> {
    return operate(this.db, { tenantId, workloadId: workId, actor: 'test', reason: 'because' }, action);
  }

  async settle(workId: string, suspectBackoffMs = SUSPECT_BACKOFF_MS): Promise<WorkloadView> {
    return (await settle(this.db, workId, suspectBackoffMs))!;
  }

  /** Looks at every lane that needs it, until none does. */
  async pump(): Promise<void> {
    for (;;) {
      const due = await dueLanes(this.db, 0);
      if (due.length === 0) return;
      for (const lane of due) await pumpLane(this.db, lane);
    }
  }

  async workload(workId: string): Promise<WorkloadRow> {
    const [row] = await this.db.query<WorkloadRow>(
      'SELECT *, clock_timestamp() AS now FROM workloads WHERE workload_id = $1',
      [workId],
    );
    return row!;
  }

  async lease(workId: string): Promise<LeaseRow | null> {
    const [row] = await this.db.query<LeaseRow>('SELECT *, clock_timestamp() AS now FROM leases WHERE work_id = $1', [
      workId,
    ]);
    return row ?? null;
  }

  async deliveries(workId: string): Promise<DeliveryRow[]> {
    return this.db.query<DeliveryRow>('SELECT * FROM deliveries WHERE workload_id = $1 ORDER BY number', [workId]);
  }

  /** The workload's audit rows in order; those of one type if it is given. */
  async audit(workId: string, type?: string): Promise<AuditRow[]> {
    return this.db.query<AuditRow>(
      'SELECT type, actor, detail FROM audit WHERE workload_id = $1 AND ($2::text IS NULL OR type = $2) ORDER BY seq',
      [workId, type ?? null],
    );
  }

  /** Moves the end of the workload's lease into the past: nobody renewed it. */
  async outliveLease(workId: string): Promise<void> {
    await this.db.query(
      "UPDATE leases SET expires_at = clock_timestamp() - interval '2 milliseconds' WHERE work_id = $1",
      [workId],
    );
  }

  /**
   * Holds the workload's lock without changing it, starts `call`, and lets go once `call` waits for the lock and `until` (a
   * SQL condition, default none) is true.
   */
  async whileLocked<T>(workId: string, call: () => Promise<T>, until = 'true'): Promise<T> {
    const { answer } = await this.db.transaction(async (tx) => {
      await tx.query('SELECT 1 FROM workloads WHERE workload_id = $1 FOR UPDATE', [workId]);
      const waiting = call();
      waiting.catch(() => undefined);
      await eventually(() => isBlocking(tx, until), { interval: 5 });
      return { answer: waiting };
    });
    return answer;
  }

  /** Moves the workload's present deadline into the past, so that the next settle applies it. */
  async elapse(workId: string): Promise<void> {
    await this.db.query(
      `UPDATE workloads w SET deadline_at = past.at,
         total_at = CASE WHEN deadline_kind = 'total' THEN past.at ELSE total_at END,
         late_until = CASE WHEN deadline_kind = 'late' THEN past.at ELSE late_until END
       FROM (SELECT clock_timestamp() - interval '2 milliseconds' AS at) past WHERE workload_id = $1`,
      [workId],
    );
  }
}

/** A command that prints a word. */
export const aRun = (fields: Partial<RunSpec> = {}): RunSpec => ({
  command: 'echo',
  args: ['done'],
  cwd: '.',
  sandbox: 'default',
  timeout: null,
  image: null,
  digest: null,
  endpoint: null,
  job_id: null,
  env: null,
  rerunnable: false,
  completion: 'poll',
  ...fields,
});

/** True once another connection waits for a lock of this transaction, and a further SQL condition holds. */
export async function isBlocking(tx: Queryable, condition = 'true'): Promise<boolean> {
  const [row] = await tx.query<{ blocking: boolean }>(
    `SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))
       AND ${condition} AS blocking`,
  );
  return row!.blocking;
}

/** A random intent key. */
export const intentKey = (): string => randomBytes(16).toString('hex');

/** Decides every event by one rule. */
function evaluateAs(rule: TestRule): Evaluate {
  const decision = rule.decision ?? 'dispatch';
  const snapshot: RuleSnapshot = {
    id: rule.id ?? 'test-rule',
    decision,
    reason: 'test-rule',
    dedupe: rule.dedupe ? { window: rule.dedupe.window ?? 0, on_duplicate: rule.dedupe.on_duplicate ?? 'drop' } : null,
    ...(rule.flow && { flow: { concurrency: null, rate: null, debounce: null, ...rule.flow } }),
    to: {
      pool: rule.pool === undefined ? 'default' : rule.pool,
      executor: rule.executor ?? 'opencrow',
      priority: 3,
      ...(rule.requires && { requires: rule.requires }),
    },
    trigger: { prompt: null, include: [], response_policy: null },
    deadlines: { ...DEFAULT_DEADLINES, ...rule.deadlines },
    retry: rule.retry ?? { redeliver_on: [], max_deliveries: 1 },
    hold: rule.hold ?? (decision === 'hold' ? { deadline: 60_000, then: 'deny' } : null),
    capabilities: (rule.grants ?? []).map(({ literals, globs, ...grant }) => ({
      ...grant,
      resources: [...literals.map((literal) => JSON.stringify(literal)), ...globs.map((glob) => ({ glob }))],
    })),
  };
  return () =>
    Promise.resolve({
      decision,
      ruleId: snapshot.id,
      reason: snapshot.reason,
      rule: snapshot,
      dedupeKey: rule.dedupe?.key ?? null,
      grants: rule.grants ?? [],
      run: rule.run || isCommandExecutor(rule.executor ?? null) ? aRun(rule.run) : null,
      ...(rule.flow && { flowKeys: rule.flowKeys ?? {} }),
      trace: [{ ruleId: snapshot.id, outcome: 'matched' }],
    });
}

/** The code a call was refused with; fails when it was not refused, or with something that is no problem. */
export async function refusal(call: Promise<unknown>): Promise<ProblemCode> {
  return (await problemOf(call)).code;
}

/** The problem a call was refused with. */
export async function problemOf(call: Promise<unknown>): Promise<Problem> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('the call was not refused');
}

/** Runs calls at once; what each came to: its value, or the code it was refused with. */
export async function race<T>(calls: readonly (() => Promise<T>)[]): Promise<(T | ProblemCode)[]> {
  return Promise.all(
    calls.map((call) =>
      call().catch((error: unknown) => {
        if (error instanceof Problem) return error.code;
        throw error;
      }),
    ),
  );
}
