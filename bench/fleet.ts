import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { claim } from '../ledger/claims';
import { removeEmbeddedPostgres, startEmbeddedPostgres } from '../ledger/embedded-postgres';
import { migrate } from '../ledger/migrate';
import { heartbeat } from '../ledger/worker-heartbeat';
import { authenticateWorker } from '../ledger/workers';
import { round, sampleOf, type Sample } from './measure';
import { enrolled, managedWork, type BenchWorker } from './plane-work';
import { RecordedDatabase, sendAgain } from './recorded-statements';

const WORKERS = 500;
const HEARTBEAT_EVERY_MS = 15_000;
const CLAIMS_PER_SECOND = 50;
const COUNT = 1000;
const START_DEADLINE_MS = 60_000;
/** Jiffies a second, of /proc. */
const TICKS = 100;
const TOLD = { version: 'bench', protocol_version: 1, current_load: 0, executors: ['managed' as const] };

/** What 1,000 of something took. */
export interface Cost {
  /** Processor seconds of the api, or of the process that sent the statements. */
  process: number;
  /** Of Postgres. */
  postgres: number;
  latency: Sample;
}

export interface FleetResult {
  report: string;
  heartbeats: { ours: Cost; bare: Cost };
  claims: { ours: Cost; bare: Cost };
}

/**
 * 500 workers that send a heartbeat every 15 s, and 50 claims a second, through the api in a process of its own, beside the same statements sent bare
 * at the same pace: processor seconds for 1,000 of each. Needs Linux, and no Temporal.
 */
export async function measureFleet(log: (text: string) => void): Promise<FleetResult> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'workloadd-bench-'));
  const postgres = await startEmbeddedPostgres({ dataDir: folder, announce: log });
  const db = new RecordedDatabase({ connection: { connectionString: postgres.url } });
  const bare = new pg.Pool({ connectionString: postgres.url, max: 10 });
  let api: ChildProcess | undefined;
  try {
    await migrate(db);
    const admitted = await managedWork(db);
    log(`enrolling ${WORKERS} workers, admitting ${2 * COUNT + 1} workloads`);
    const workers: BenchWorker[] = [];
    for (let index = 0; index < WORKERS; index += 1) workers.push(await enrolled(db, index));
    const ids: string[] = [];
    for (let index = 0; index <= 2 * COUNT; index += 1) ids.push(await admitted(String(index)));
    await db.query('UPDATE workloads SET wake_sent = wake_seq');

    const first = workers[0]!;
    const beating = await db.recording(() => authenticated(db, first).then((own) => heartbeat(db, own, TOLD)));
    const firstId = ids.pop()!;
    const claiming = await db.recording(() => authenticated(db, first).then((own) => claim(db, own, firstId)));
    const started = await startApi(postgres.url);
    api = started.process;
    const at = (index: number): BenchWorker => workers[index % WORKERS]!;
    const asAnother = (index: number): [string, string][] => [
      [first.principal.workerId, at(index).principal.workerId],
      [first.principal.credentialId, at(index).principal.credentialId],
    ];
    const post = async (index: number, route: string, body: object): Promise<void> => {
      const { principal, bearer } = at(index);
      const answer = await fetch(`${started.url}/api/workers/${principal.workerId}/${route}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      const text = await answer.text();
      if (!answer.ok) throw new Error(`${route}: ${answer.status} ${text}`);
    };
    const server = { pid: api.pid!, postgres: postgres.pid };
    const self = { pid: process.pid, postgres: postgres.pid };
    const paced = { heartbeats: HEARTBEAT_EVERY_MS / WORKERS, claims: 1000 / CLAIMS_PER_SECOND };

    log('heartbeats');
    const heartbeats = {
      ours: await costOf(server, paced.heartbeats, (index) => post(index, 'heartbeat', TOLD)),
      bare: await costOf(self, paced.heartbeats, (index) => sendAgain(bare, beating, new Map(asAnother(index)))),
    };
    log('claims');
    const claims = {
      ours: await costOf(server, paced.claims, (index) => post(index, 'claims', { work_id: ids.pop()! })),
      bare: await costOf(self, paced.claims, (index) =>
        sendAgain(bare, claiming, new Map([...asAnother(index), [firstId, ids.pop()!]])),
      ),
    };
    return { heartbeats, claims, report: [line('heartbeat', heartbeats), line('claim    ', claims)].join('\n') };
  } finally {
    if (api && api.exitCode === null) {
      api.kill('SIGTERM');
      await once(api, 'exit');
    }
    await bare.end();
    await db.close();
    await removeEmbeddedPostgres(folder);
    await rm(folder, { recursive: true, force: true });
  }
}

const authenticated = async (db: RecordedDatabase, { bearer }: BenchWorker): Promise<BenchWorker['principal']> =>
  (await authenticateWorker(db, bearer))!;

/** Does something {@link COUNT} times at a pace, whatever the earlier ones are at. */
async function costOf(
  { pid, postgres }: { pid: number; postgres: number },
  everyMs: number,
  act: (index: number) => Promise<void>,
): Promise<Cost> {
  const before = [await processorSeconds(pid), await familySeconds(postgres)] as const;
  const durations: number[] = [];
  const start = performance.now();
  const under: Promise<void>[] = [];
  for (let index = 0; index < COUNT; index += 1) {
    const wait = start + index * everyMs - performance.now();
    if (wait > 0) await sleep(wait);
    const began = performance.now();
    under.push(act(index).then(() => void durations.push(performance.now() - began)));
  }
  await Promise.all(under);
  return {
    process: round((await processorSeconds(pid)) - before[0]),
    postgres: round((await familySeconds(postgres)) - before[1]),
    latency: sampleOf(durations),
  };
}

/** Processor time of one process so far, with that of its children that have ended. */
async function processorSeconds(pid: number): Promise<number> {
  const fields = await statOf(pid);
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS;
}

/** That of a process and its children. */
async function familySeconds(pid: number): Promise<number> {
  let sum = await processorSeconds(pid);
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const fields = await statOf(Number(name)).catch(() => null);
    if (fields?.[1] === String(pid)) sum += fields.slice(11, 13).reduce((all, ticks) => all + Number(ticks), 0) / TICKS;
  }
  return sum;
}

/** The fields of /proc/PID/stat after the name: state first, then the parent. */
async function statOf(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  return text.slice(text.lastIndexOf(')') + 2).split(' ');
}

async function startApi(databaseUrl: string): Promise<{ process: ChildProcess; url: string }> {
  const child = spawn(process.execPath, [path.join(__dirname, '../cli/main.js'), 'api', '--listen', '127.0.0.1:0'], {
    env: { ...process.env, WORKLOADD_DATABASE_URL: databaseUrl, TEMPORAL_ADDRESS: '127.0.0.1:1' },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const deadline = setTimeout(() => child.kill('SIGTERM'), START_DEADLINE_MS);
  for await (const text of createInterface({ input: child.stderr })) {
    const { url, msg } = JSON.parse(text) as { url?: string; msg?: string };
    if (msg !== 'the api listens' || url === undefined) continue;
    clearTimeout(deadline);
    child.stderr.resume();
    return { process: child, url };
  }
  throw new Error('the api did not start');
}

function line(name: string, { ours, bare }: { ours: Cost; bare: Cost }): string {
  const total = ({ process: own, postgres }: Cost): number => own + postgres;
  return [
    `${name}  for 1,000: api ${ours.process} s + Postgres ${ours.postgres} s, p50 ${ours.latency.p50} ms, p99 ${ours.latency.p99} ms`,
    `the same statements: sender ${bare.process} s + Postgres ${bare.postgres} s, p50 ${bare.latency.p50} ms, p99 ${bare.latency.p99} ms`,
    `ratio of all processor time ${round(total(ours) / total(bare))}`,
  ].join('; ');
}
