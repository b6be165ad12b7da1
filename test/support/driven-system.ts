import { randomBytes } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { pino } from 'pino';
import { LanePump } from '../../activities/lane-pump';
import { WakeRelay } from '../../api/wake-relay';
import type { SourceEvent } from '../../contracts/events';
import { deliveryIdOf, taskQueueOf, workflowIdOf } from '../../contracts/names';
import { Problem } from '../../contracts/problems';
import type { LeasedExecutor, LifecycleStatus } from '../../contracts/terminology';
import type { DeliverResult, ExecuteResult } from '../../contracts/workflow';
import { parsePolicy } from '../../domain/policy/parse';
import { acceptEvent, type Accepted } from '../../ledger/accept';
import { claim } from '../../ledger/claims';
import { Database } from '../../ledger/database';
import { recordIntent, reportWrite } from '../../ledger/deliveries';
import { finishCommand } from '../../ledger/finish-command';
import { recordLifecycle, type RecordedLifecycle } from '../../ledger/lifecycle';
import { operate, type OperatorAction } from '../../ledger/operator-actions';
import { unsentOf } from '../../ledger/outbox';
import { activatePolicy } from '../../ledger/policies';
import { renewLease } from '../../ledger/renew-lease';
import { enrolWorker } from '../../ledger/enrol-worker';
import { authenticateWorker, type WorkerPrincipal } from '../../ledger/workers';
import { createControlWorker, type ControlWorker } from '../../workers/control-worker';
import { exitedWith } from './envelopes';
import { testEnvironment } from './environment';
import { freshNamespace, type FreshNamespace } from './fresh-namespace';
import { freshLedgerSchema, type FreshSchema } from './fresh-schema';

const silent = pino({ level: 'silent' });
Runtime.install({ logger: new DefaultLogger('ERROR') });

/** A policy that sends every event to the pool `default`; `extra` are further fields of its one rule. */
export const dispatchAll = (extra = ''): string => `
version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - { id: all, when: 'true', decision: dispatch${extra && `, ${extra}`} }
`;

/**
 * The real ledger, workflows, relay and control worker on a schema and a namespace of their own. The test plays connector,
 * pool worker and executor itself, so that it decides what happens and when.
 */
export class DrivenSystem {
  readonly deliveries: string[] = [];
  /** Lets the commands end that say that they run. */
  endCommands: () => void = () => undefined;
  private readonly commandsMayEnd = new Promise<void>((resolve) => (this.endCommands = resolve));
  private readonly pollers: { worker: Worker; done: Promise<void> }[] = [];
  private ids = 0;

  private constructor(
    readonly schema: FreshSchema,
    readonly namespace: FreshNamespace,
    readonly db: Database,
    readonly relay: WakeRelay,
    readonly principal: WorkerPrincipal,
    private readonly connection: NativeConnection,
    private readonly control: { worker: ControlWorker; done: Promise<void> },
    /** Passes hints on to the relay, as an api does. */
    readonly hints: LanePump,
  ) {}

  static async start(policy: string, options: { poolWorker?: boolean; unheldMs?: number } = {}): Promise<DrivenSystem> {
    const [schema, namespace] = await Promise.all([freshLedgerSchema(), freshNamespace()]);
    const db = new Database({ connection: schema.connection });
    const compiled = parsePolicy(policy).policy;
    await activatePolicy(db, 'default', { source: policy, hash: compiled.hash }, 'test');
    const { plaintext } = await enrolWorker(db, {
      workerId: 'w1',
      poolId: 'default',
      maxOpenDeliveries: 50,
      actor: 'test',
    });
    const principal = (await authenticateWorker(db, plaintext.reveal()))!;
    const connection = await NativeConnection.connect({ address: testEnvironment.temporalAddress });
    const relay = new WakeRelay({ db, client: namespace.client, logger: silent, minAgeMs: 300, pollMs: 100 });
    relay.start();
    const worker = await createControlWorker({
      connection,
      client: namespace.client,
      namespace: namespace.name,
      db,
      logger: silent,
      workflowBundlePath: testEnvironment.workflowBundle,
      suspectBackoffMs: 100,
      wakes: relay,
      sweeps: {
        everyMs: 200,
        runCheckMs: 500,
        overdueMs: 500,
        unheldMs: options.unheldMs ?? 60_000,
        capacityMs: 60_000,
        retention: { bodyDays: 30, noiseDays: 7 },
        fleet: { everyMs: 15_000, unhealthyAfterMs: 60_000 },
      },
    });
    const system = new DrivenSystem(
      schema,
      namespace,
      db,
      relay,
      principal,
      connection,
      { worker, done: worker.run() },
      new LanePump({ db, wakes: relay, logger: silent }),
    );
    if (options.poolWorker !== false) await system.startPoolWorker();
    return system;
  }

  /** Polls the pool's queue: claims, records the intent and reports a write for whatever is offered. */
  async startPoolWorker(options: { maxConcurrentActivityTaskExecutions?: number } = {}): Promise<void> {
    await this.poll(taskQueueOf('default'), { deliver: ({ work_id }) => this.deliver(work_id) }, options);
  }

  /** Polls the pool's queue for commands of `node`. Each says that it runs, and ends well once the test tells it to. */
  async startCommandWorker(): Promise<void> {
    await this.startExecuting('node', (workId) => this.execute(workId));
  }

  /** Polls the pool's queue for work whose worker holds its lease itself, and has it done so. */
  async startExecuting(executor: LeasedExecutor, execute: (workId: string) => Promise<ExecuteResult>): Promise<void> {
    await this.poll(taskQueueOf('default', executor), { execute: ({ work_id }) => execute(work_id) });
  }

  /** Polls a queue until the end of the test; whoever can reach Temporal can do so. */
  async poll(
    taskQueue: string,
    activities: Record<string, (input: { work_id: string }) => Promise<unknown>>,
    options: { maxConcurrentActivityTaskExecutions?: number } = {},
  ): Promise<void> {
    const { namespace } = this;
    const connection = await NativeConnection.connect({ address: testEnvironment.temporalAddress });
    const worker = await Worker.create({ connection, namespace: namespace.name, taskQueue, activities, ...options });
    this.pollers.push({ worker, done: worker.run().finally(() => connection.close()) });
  }

  private async execute(workId: string): Promise<ExecuteResult> {
    const lease = await claim(this.db, this.principal, workId);
    const write = { principal: this.principal, workId, leaseToken: lease.lease_token };
    await recordIntent(this.db, write, randomBytes(16).toString('hex'));
    const { wake } = await renewLease(this.db, write, { running: true });
    if (wake) this.hints.send(unsentOf(wake));
    await this.commandsMayEnd;
    const { state, wait_ms } = await finishCommand(this.db, write, {
      envelope: exitedWith(0, { run: lease.run! }),
    });
    return { outcome: 'finished', state, wait_ms };
  }

  private async deliver(workId: string): Promise<DeliverResult> {
    try {
      const lease = await claim(this.db, this.principal, workId);
      const write = { principal: this.principal, workId, leaseToken: lease.lease_token };
      const intent = await recordIntent(this.db, write, randomBytes(16).toString('hex'));
      this.deliveries.push(intent.delivery_id);
      const { state, wait_ms } = await reportWrite(this.db, write, { write: 'written' });
      return { outcome: 'delivered', state, wait_ms };
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      if (error.code === 'workload.not_needed' || error.code === 'delivery.maybe_written') {
        return { outcome: 'not_needed', state: null, wait_ms: null };
      }
      throw ApplicationFailure.create({ message: error.code, nextRetryDelay: error.retryAfterMs ?? 500 });
    }
  }

  /** Posts an event as the api does: commit, then a hint to the relay. */
  async post(event: Partial<SourceEvent> = {}, hint = true): Promise<Accepted> {
    this.ids += 1;
    const full: SourceEvent = { source: 'rss', action: 'triage', event_id: `e${this.ids}`, data: {}, ...event };
    const accepted = await acceptEvent(this.db, 'default', full, 'test');
    if (!accepted.duplicate && hint) {
      this.relay.send({
        workload_id: accepted.workloadId,
        tenant_id: 'default',
        source: full.source,
        action: full.action,
        state: 'accepted',
        closed: false,
        wake_seq: '1',
        wait_ms: null,
      });
    }
    return accepted;
  }

  /** Reports a lifecycle status of delivery `number`, as the lifecycle route does. */
  async report(workloadId: string, status: LifecycleStatus, number = 1, hint = true): Promise<RecordedLifecycle> {
    this.ids += 1;
    const recorded = await recordLifecycle(this.db, this.principal, {
      event_id: `opencrow:test:${this.ids}:1:${status}`,
      delivery_id: deliveryIdOf(workloadId, number),
      status,
      occurred_at: new Date().toISOString(),
    });
    if (recorded.wake && hint) this.hints.send(unsentOf(recorded.wake));
    return recorded;
  }

  async operate(workloadId: string, action: OperatorAction): Promise<void> {
    const order = { tenantId: 'default', workloadId, actor: 'test', reason: 'test' };
    this.hints.send(unsentOf(await operate(this.db, order, action)));
  }

  async row(workloadId: string): Promise<{ state: string; reason: string; closed: boolean; delivery: number }> {
    const [row] = await this.db.query<{ state: string; reason: string; closed: boolean; delivery: number }>(
      'SELECT state, reason, closed, delivery FROM workloads WHERE workload_id = $1',
      [workloadId],
    );
    return row!;
  }

  workflow(workloadId: string) {
    return this.namespace.client.workflow.getHandle(workflowIdOf(workloadId));
  }

  async stop(): Promise<void> {
    await this.hints.stop();
    await this.relay.stop();
    for (const { worker } of this.pollers) worker.shutdown();
    this.control.worker.shutdown();
    await Promise.all([...this.pollers, this.control].map(({ done }) => done));
    await this.connection.close();
    await this.namespace.close();
    await this.db.close();
    await this.schema.drop();
  }
}
