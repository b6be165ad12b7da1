import { existsSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { Client, Connection, WorkflowNotFoundError } from '@temporalio/client';
import type { SourceEvent } from '../../contracts/events';
import { workflowIdOf } from '../../contracts/names';
import type { WorkloadState } from '../../contracts/terminology';
import type { WorkloadRecord } from '../../contracts/workload-record';
import type { DebugPoint } from '../../domain/debug-point';
import { parsePolicy } from '../../domain/policy/parse';
import type { LogLine } from '../../examples/simulated-opencrow/simulated-opencrow';
import { findProcesses } from '../../ledger/background-process';
import { Database } from '../../ledger/database';
import { activatePolicy } from '../../ledger/policies';
import { createToken } from '../../ledger/tokens';
import { enrolWorker } from '../../ledger/enrol-worker';
import { openDataDir } from '../../workers/data-dir-lock';
import { testEnvironment } from './environment';
import { eventually } from './eventually';
import { freshNamespace } from './fresh-namespace';
import { freshLedgerSchema, type FreshSchema } from './fresh-schema';
import { historyText } from './history-text';
import { policyText } from './policy';
import { startWorkloadd, type ProcessEnd, type TestProcess } from './processes';
import { startOpenCrow, type OpenCrowProcess } from './simulated-opencrow';
import { temporaryFolder } from './temporary-folder';

/** The kinds of process of a service; each runs once, but for the `standby`, a second replica of the api. */
export const ROLES = ['api', 'control', 'worker', 'crow'] as const;
export type Role = (typeof ROLES)[number] | 'standby';

/** Where a process is to end (or to freeze, with `:stop`) by itself. */
export type Armed = DebugPoint | `${DebugPoint}:stop`;

/** What is known beforehand of a posted event. */
export interface Story {
  /** The states its workload may end in. */
  ends: readonly WorkloadState[];
  /** Most deliveries that its rule allows. */
  deliveries: number;
}

/** A posted event and its workload. */
export interface Posted extends Story {
  id: string;
}

/** A Temporal server of the test's own, instead of the run's. */
export interface TemporalOf {
  address: string;
  namespace: string;
}

export interface ClusterOptions {
  /** Rules of the policy, YAML flow mappings; the pool is `crows`. */
  rules: readonly string[];
  /** Agent script of OpenCrow. */
  script?: object;
  /** Default 1. */
  maxOpenDeliveries?: number;
  temporal?: TemporalOf;
  /** Backends that the worker offers, instead of an OpenCrow. */
  backends?: string;
  /** Further variables of the worker. */
  workerEnv?: NodeJS.ProcessEnv;
  /** Further arguments of the worker. */
  workerArgs?: readonly string[];
  /** Further arguments of the api. */
  apiArgs?: readonly string[];
}

/** What tells that a process works. */
const READY: Record<Exclude<Role, 'crow'>, RegExp> = {
  api: /"url":"/,
  standby: /"url":"/,
  control: /polling Temporal/,
  worker: /polling Temporal/,
};
const START_TIMEOUT = 60_000;

/**
 * The whole service as separate real processes on a schema and a namespace of its own, and one simulated OpenCrow. Each
 * process is started, stopped and killed by its role and keeps its address, socket and folder from life to life.
 */
export class Cluster {
  readonly posted: Posted[] = [];
  private readonly processes = new Map<Role, TestProcess>();
  private events = 0;

  private constructor(
    readonly schema: FreshSchema,
    readonly db: Database,
    readonly temporal: TemporalOf,
    /** Closes what the test itself has open. */
    private readonly closeOwn: () => Promise<void>,
    readonly folder: string,
    private readonly token: string,
    private readonly ports: Record<'api' | 'standby', number>,
    private readonly options: ClusterOptions,
  ) {}

  /** Prepares everything and starts no process yet. */
  static async prepare(options: ClusterOptions): Promise<Cluster> {
    const schema = await freshLedgerSchema();
    const namespace = options.temporal ? null : await freshNamespace();
    const db = new Database({ connection: schema.connection, maxConnections: 3 });
    const source = policyText(...options.rules);
    await activatePolicy(db, 'default', { source, hash: parsePolicy(source).policy.hash }, 'test');
    const { plaintext: token } = await createToken(db, { tenantId: 'default', name: 'test', scopes: ['admin'] });
    const { plaintext: credential } = await enrolWorker(db, {
      workerId: 'crow',
      poolId: 'crows',
      maxOpenDeliveries: options.maxOpenDeliveries ?? 1,
      actor: 'test',
    });
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, 'credential'), credential.reveal(), { mode: 0o600 });
    const temporal = options.temporal ?? { address: testEnvironment.temporalAddress, namespace: namespace!.name };
    const [api, standby] = await Promise.all([freePort(), freePort()]);
    const closeOwn = async (): Promise<void> => {
      await db.close();
      await namespace?.close();
    };
    const ports = { api, standby };
    return new Cluster(schema, db, temporal, closeOwn, folder, token.reveal(), ports, options);
  }

  get lifecycleSocket(): string {
    return path.join(this.folder, 'l.sock');
  }
  /** Where the commands of its worker run. */
  get workspace(): string {
    return path.join(this.folder, 'workspace');
  }
  get spoolDir(): string {
    return path.join(this.folder, 'spool');
  }

  /** Starts a process of each given role and waits until all work. */
  async start(...roles: Role[]): Promise<void> {
    await Promise.all(roles.map((role) => this.startOne(role)));
  }

  /** Starts one process, which ends or freezes at `armed`, and waits until it works or has ended there. */
  async startOne(role: Role, armed?: Armed): Promise<TestProcess> {
    if (this.processes.get(role)?.isRunning) throw new Error(`${role} runs already`);
    if (role === 'crow') return this.startCrow();
    const process = startWorkloadd(this.argumentsOf(role), {
      TEMPORAL_ADDRESS: this.temporal.address,
      TEMPORAL_NAMESPACE: this.temporal.namespace,
      DATABASE_URL: role === 'worker' ? '' : this.databaseUrl,
      ...(role === 'worker' ? this.options.workerEnv : {}),
      ...(armed && { WORKLOADD_DEBUG_POINT: armed }),
    });
    this.processes.set(role, process);
    await Promise.race([process.output(READY[role], START_TIMEOUT), process.ended]);
    return process;
  }

  /** The process of a role; fails when it was never started. */
  process(role: Role): TestProcess {
    const process = this.processes.get(role);
    if (!process) throw new Error(`${role} was never started`);
    return process;
  }

  get crow(): OpenCrowProcess {
    return this.process('crow') as OpenCrowProcess;
  }

  isRunning(role: Role): boolean {
    return this.processes.get(role)?.isRunning ?? false;
  }

  /** SIGKILL. */
  async kill(role: Role): Promise<void> {
    await this.process(role).kill9();
  }

  /** SIGTERM; resolves with how it ended and the milliseconds that took. */
  async terminate(role: Role): Promise<ProcessEnd & { tookMs: number }> {
    const since = Date.now();
    const end = await this.process(role).terminate();
    return { ...end, tookMs: Date.now() - since };
  }

  /** Waits until a process has ended at its debug point. */
  async diedAt(role: Role, timeoutMs = 60_000): Promise<void> {
    const process = this.process(role);
    await eventually(() => !process.isRunning, { timeout: timeoutMs }).catch(() => {
      throw new Error(`${role} did not come by its debug point:\n${process.stderr}`);
    });
    expect(await process.ended).toEqual({ code: null, signal: 'SIGKILL' });
  }

  /** Posts an event as a connector does: again and again, to each api there is, until one says that it is accepted. */
  async post(story: Story, event: Partial<SourceEvent> = {}): Promise<Posted> {
    this.events += 1;
    const full = { source: 'test', action: 'work', event_id: `e${this.events}`, data: {}, ...event };
    const id = await eventually(
      async () => {
        for (const role of ['api', 'standby'] as const) {
          const answer = await this.ask('POST', '/api/events', full, role).catch(() => null);
          if (answer?.status === 202) return (answer.body as { workload_id: string }).workload_id;
        }
        return null;
      },
      { timeout: 60_000, interval: 100 },
    );
    const posted = { id, ...story };
    if (!this.posted.some((each) => each.id === id)) this.posted.push(posted);
    return posted;
  }

  async record({ id }: { id: string }): Promise<WorkloadRecord> {
    const role = this.isRunning('api') ? 'api' : 'standby';
    const { status, body } = await this.ask('GET', `/api/workloads/${id}`, undefined, role);
    expect(status).toBe(200);
    return body as WorkloadRecord;
  }

  /** Waits until a workload is in a state, as the ledger has it. */
  async state({ id }: { id: string }, state: WorkloadState, timeoutMs = 60_000): Promise<void> {
    const timeline = async (): Promise<string> =>
      JSON.stringify(await this.db.query('SELECT type, detail FROM audit WHERE workload_id = $1 ORDER BY seq', [id]));
    await eventually(
      async () => {
        const [row] = await this.db.query<{ state: string }>('SELECT state FROM workloads WHERE workload_id = $1', [
          id,
        ]);
        return row?.state === state;
      },
      { timeout: timeoutMs, interval: 50 },
    ).catch(async () => {
      throw new Error(`${id} did not become ${state}: ${await timeline()}`);
    });
  }

  /** Waits until OpenCrow has told the worker's socket something of a delivery. */
  async emitted({ id }: { id: string }, status: string): Promise<void> {
    const told = (line: LogLine): boolean =>
      line.type === 'emitted' && line.workload_id === id && line.status === status && line.lost === null;
    await eventually(() => this.crow.log().some(told), { timeout: 60_000 });
  }

  /** Stops everything in order, asserts that all exit 0 and that no process, socket, lock or connection is left. */
  async stop(): Promise<void> {
    for (const role of ['crow', 'worker', 'control', 'standby', 'api'] as const) {
      if (!this.isRunning(role)) continue;
      const { code } = await this.terminate(role);
      if (code !== 0) throw new Error(`${role} exited with ${code}:\n${this.process(role).stderr.slice(-5_000)}`);
    }
    expect(existsSync(this.lifecycleSocket)).toBe(false);
    if (!this.options.backends) expect(readdirSync(path.join(this.spoolDir, 'leases'))).toEqual([]);
    await (await openDataDir(this.spoolDir)).release();
    expect(findProcesses((args) => args.some((arg) => arg.includes(this.folder)))).toEqual([]);
    await eventually(async () => expect(await this.connections()).toBe(0));
  }

  /** Gives back what the test run has lent; harmless after a failure. */
  async close(): Promise<void> {
    await Promise.all([...this.processes.values()].map((process) => process.kill9()));
    await this.closeOwn();
    await this.schema.drop();
  }

  /** How many workflows of this service run. */
  async openWorkflows(): Promise<number> {
    return this.withTemporal(async ({ workflow }) => (await workflow.count("ExecutionStatus = 'Running'")).count);
  }

  /** The history of a workload's workflow as text. */
  async history({ id }: { id: string }): Promise<string> {
    let text = '';
    await this.withTemporal(async ({ workflow }) => {
      text = historyText(await workflow.getHandle(workflowIdOf(id)).fetchHistory());
    });
    return text;
  }

  /** Takes a workload's history out of Temporal, as an expiry or an operator would. */
  async deleteHistory({ id }: { id: string }): Promise<void> {
    await this.withTemporal(async ({ workflow, workflowService }) => {
      const workflowId = workflowIdOf(id);
      await workflowService.deleteWorkflowExecution({
        namespace: this.temporal.namespace,
        workflowExecution: { workflowId },
      });
      await eventually(async () => {
        const gone = await workflow
          .getHandle(workflowId)
          .describe()
          .catch((error: unknown) => error);
        return gone instanceof WorkflowNotFoundError;
      });
    });
  }

  private async withTemporal<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const connection = await Connection.connect({ address: this.temporal.address });
    try {
      return await work(new Client({ connection, namespace: this.temporal.namespace }));
    } finally {
      await connection.close();
    }
  }

  async ask(
    method: string,
    route: string,
    json?: unknown,
    role: 'api' | 'standby' = 'api',
  ): Promise<{ status: number; body: unknown }> {
    const response = await fetch(`http://127.0.0.1:${this.ports[role]}${route}`, {
      method,
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json', connection: 'close' },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      signal: AbortSignal.timeout(15_000),
    });
    return { status: response.status, body: await response.json() };
  }

  private async startCrow(): Promise<TestProcess> {
    const { folder: sessionDir, lifecycleSocket } = this;
    const { script = {} } = this.options;
    const crow = await startOpenCrow({ sessionDir, lifecycleSocket, script });
    this.processes.set('crow', crow);
    return crow;
  }

  private argumentsOf(role: Exclude<Role, 'crow'>): string[] {
    const grace = ['--shutdown-grace', '10s'];
    if (role === 'api' || role === 'standby') {
      return ['api', '--listen', `127.0.0.1:${this.ports[role]}`, ...(this.options.apiArgs ?? []), ...grace];
    }
    if (role === 'control') {
      const sweeps = ['--sweep-interval', '1s', '--sweep-overdue', '1s', '--sweep-run-check', '5s'];
      return ['control', '--suspect-backoff', '1s', ...sweeps, ...grace];
    }
    return [
      ...['worker', '--pool', 'crows', '--worker-id', 'crow', '--api-url', `http://127.0.0.1:${this.ports.api}`],
      ...['--worker-credential-file', path.join(this.folder, 'credential'), '--spool-dir', this.spoolDir],
      ...(this.options.backends
        ? ['--backends', this.options.backends, '--workspace', this.workspace]
        : ['--trigger-pipe', path.join(this.folder, 'trigger.pipe'), '--lifecycle-socket', this.lifecycleSocket]),
      ...grace,
      ...(this.options.workerArgs ?? []),
    ];
  }

  /** By its name, the connections of our processes are told from those of other tests. */
  private get databaseUrl(): string {
    const url = new URL(this.schema.url);
    url.searchParams.set('application_name', this.schema.name);
    return url.href;
  }

  /** Whether a transaction of a process waits for another one's lock. */
  async waitsForLock(): Promise<boolean> {
    return (await this.connections("AND wait_event_type = 'Lock'")) > 0;
  }

  private async connections(condition = ''): Promise<number> {
    const [row] = await this.db.query<{ count: number }>(
      `SELECT count(*)::int AS count FROM pg_stat_activity WHERE application_name = $1 ${condition}`,
      [this.schema.name],
    );
    return row!.count;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
