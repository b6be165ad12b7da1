import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { findProcesses } from '../../ledger/background-process';
import { removeEmbeddedPostgres } from '../../ledger/embedded-postgres';
import { stopTemporalDevServer } from '../../workers/temporal-dev-server';
import { startWorkloadd, type TestProcess } from './processes';

/** Nothing of the test run's servers may reach an `up` that is to start its own. */
const NO_SERVERS = { DATABASE_URL: '', TEMPORAL_ADDRESS: '', TEMPORAL_PROFILE: '', TEMPORAL_CONFIG_FILE: '' };

/** What tests read of answers; which of it there is depends on the route. */
interface AnswerFields {
  workload_id: string;
  tenant_id: string;
  state: string;
  checks: { temporal: { ok: boolean } };
}

/** A `workloadd up` that has greeted. */
export interface RunningUp {
  process: TestProcess;
  apiUrl: string;
  token: string;
  /** A request as the admin; the answer's JSON. */
  ask(method: string, path: string, json?: unknown): Promise<{ status: number; body: AnswerFields }>;
}

const folders: string[] = [];
const started: TestProcess[] = [];
afterAll(async () => {
  for (const up of started) await up.kill9();
  for (const folder of folders) {
    const dataDir = path.join(folder, 'data');
    await stopTemporalDevServer(dataDir).catch(() => undefined);
    await removeEmbeddedPostgres(dataDir).catch(() => undefined);
    rmSync(folder, { recursive: true, force: true });
  }
}, 60_000);

/** A data dir whose servers are gone after the test file, whatever happened. */
export function newDataDir(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'wl-'));
  // Postgres of root runs under another account, which has to pass.
  chmodSync(folder, 0o711);
  folders.push(folder);
  return path.join(folder, 'data');
}

/** Starts `up` and waits for its greeting. */
export async function startUpProcess(
  dataDir: string,
  args: string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<RunningUp> {
  const command = ['up', '--data-dir', dataDir, '--listen', '127.0.0.1:0', ...args];
  const process = startWorkloadd(command, { ...NO_SERVERS, ...env });
  started.push(process);
  const apiUrl = (await process.output(/^ {2}API +(\S+)$/m, 90_000))[1]!;
  const token = readFileSync(path.join(dataDir, 'admin.token'), 'utf8').trim();
  const ask: RunningUp['ask'] = async (method, route, json) => {
    const response = await fetch(`${apiUrl}${route}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
    });
    const text = await response.text();
    return { status: response.status, body: JSON.parse(text) as AnswerFields };
  };
  return { process, apiUrl, token, ask };
}

/** Processes that work for a data dir: their arguments name it. */
export const processesOf = (dataDir: string): number[] =>
  findProcesses((args) => args.some((arg) => arg.includes(dataDir)));
