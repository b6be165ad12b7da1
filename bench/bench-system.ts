import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../contracts/search-attributes';
import { removeEmbeddedPostgres, startEmbeddedPostgres, type EmbeddedPostgres } from '../ledger/embedded-postgres';
import { startTemporalDevServer } from '../workers/temporal-dev-server';

const policyOf = (work: string): string => `version: 1
default: { decision: ignore, reason: no-rule }
rules:
  - id: bench
    when: event.source == "bench"
    decision: dispatch
    dedupe: { key: event.event_id, window: 1h }
${work}`;
/** What the bench's one rule gives each event to, and the processes and options it takes. */
const WORK = {
  opencrow: { rule: '    trigger: { prompt: Do nothing, include: [n] }\n', options: [] },
  node: {
    rule: '    to: { executor: node }\n    run: { command: "true" }\n',
    // Nothing but the workloads is to ask the database.
    options: ['--backends', 'node', '--seal-interval', '1h', '--sweep-interval', '1h'],
  },
} as const;
const AGENT = JSON.stringify({ default: { behaviour: 'complete', after_ms: 1 } });
const START_DEADLINE_MS = 120_000;

/** The service and the bare worker, each in processes of their own, on one Postgres and one Temporal dev server. */
export interface BenchSystem {
  api: string;
  token: string;
  temporal: Client;
  /** The ledger's server. */
  postgres: EmbeddedPostgres;
  stop(): Promise<void>;
}

export interface BenchOptions {
  /** The Temporal server keeps its state in memory instead of a file. */
  inMemory: boolean;
  /** Executor of the whole workloads. Default `opencrow`, a simulated one. */
  executor?: keyof typeof WORK;
  /** Settings of Postgres beside its own. */
  postgresSettings?: Readonly<Record<string, string>>;
  log: (text: string) => void;
}

export async function startBench(options: BenchOptions): Promise<BenchSystem> {
  const { inMemory, executor = 'opencrow', postgresSettings: settings = {}, log } = options;
  const folder = await mkdtemp(path.join(os.tmpdir(), 'workloadd-bench-'));
  const stops: (() => Promise<unknown>)[] = [
    () => rm(folder, { recursive: true, force: true }),
    () => removeEmbeddedPostgres(folder),
  ];
  const stop = async (): Promise<void> => {
    for (const each of stops.splice(0).reverse()) await each().catch((error: unknown) => log(String(error)));
  };
  try {
    const postgres = await startEmbeddedPostgres({ dataDir: folder, announce: log, settings });
    stops.push(() => postgres.stop());
    const server = await startTemporalDevServer({
      dataDir: folder,
      inMemory,
      announce: log,
      searchAttributes: Object.values(SEARCH_ATTRIBUTES),
    });
    stops.push(() => server.stop());

    const bin = path.resolve(__dirname, '../../bin/workloadd.js');
    const port = 20_000 + (process.pid % 20_000);
    const policy = path.join(folder, 'policy.yaml');
    await writeFile(policy, policyOf(WORK[executor].rule));
    const args = ['up', '--data-dir', path.join(folder, 'data'), '--listen', `127.0.0.1:${port}`, '--policy', policy];
    const pipe = path.join(folder, 'trigger.pipe');
    const socket = path.join(folder, 'lifecycle.sock');
    const up = start(
      [
        bin,
        ...args,
        ...WORK[executor].options,
        '--trigger-pipe',
        pipe,
        '--lifecycle-socket',
        socket,
        '--max-open-deliveries',
        '100',
        '--log-level',
        'warn',
      ],
      { DATABASE_URL: postgres.url, TEMPORAL_ADDRESS: server.address },
    );
    stops.push(() => terminate(up));
    if (executor === 'opencrow') {
      const crow = start([
        path.resolve(__dirname, '../examples/simulated-opencrow/main.js'),
        ...['--session-dir', folder, '--lifecycle-socket', socket, '--script', AGENT],
      ]);
      stops.push(() => terminate(crow));
    }
    const bare = start([path.resolve(__dirname, 'bare/worker.js'), server.address]);
    stops.push(() => terminate(bare));

    const api = `http://127.0.0.1:${port}`;
    await Promise.all([ready(`${api}/readyz`, up), once(bare.stdout!, 'data')]);
    const connection = await Connection.connect({ address: server.address });
    stops.push(() => connection.close());
    const token = (await readFile(path.join(folder, 'data', 'admin.token'), 'utf8')).trim();
    return { api, token, temporal: new Client({ connection }), postgres, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function start(args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
}

async function terminate(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

async function ready(url: string, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + START_DEADLINE_MS;
  for (;;) {
    if (child.exitCode !== null) throw new Error('workloadd up ended while starting');
    const answer = await fetch(url).catch(() => null);
    if (answer?.ok) return;
    if (Date.now() > deadline) throw new Error(`${url} is not ready after ${START_DEADLINE_MS} ms`);
    await sleep(100);
  }
}
