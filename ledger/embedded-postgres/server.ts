import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Secret } from '../../contracts/secret';
import { commandLineOf, findProcesses, isRunning, startInBackground, stopProcess } from '../background-process';
import type { Account } from './account';
import type { PostgresBinaries } from './binaries';
import { serverEnvironment, SUPERUSER } from './cluster';
import type { ClusterHome } from './home';

/** Crash recovery replays the log since the last checkpoint, so a start may take a while. */
const READY_TIMEOUT_MS = 120_000;

/** Private to one data dir, so Postgres' settings can be fixed here; later entries win. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  port: '5432',
  unix_socket_permissions: '0700',
  max_connections: '200',
  fsync: 'on',
  timezone: 'UTC',
  // Errors and statements quote values, and values may be anybody's data.
  log_min_messages: 'log',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
  log_checkpoints: 'off',
  log_line_prefix: '%m [%p] ',
};

/** Starts the server process. It is not ready yet. */
export async function launchServer(
  home: ClusterHome,
  binaries: PostgresBinaries,
  account: Account | undefined,
  extraSettings: Readonly<Record<string, string>>,
): Promise<number> {
  const settings = { ...SETTINGS, ...extraSettings, unix_socket_directories: home.sockets };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return startInBackground({
    command: binaries.postgres,
    args: ['-D', home.cluster, ...flags],
    env: serverEnvironment(),
    logFile: home.logFile,
    account,
  });
}

/** How to reach a database of the server over its private socket. */
export const connectionTo = (home: ClusterHome, password: Secret, database: string): pg.ClientConfig => ({
  host: home.sockets,
  port: 5432,
  user: SUPERUSER,
  password: password.reveal(),
  database,
});

/**
 * Waits until the server accepts us, and returns the folder and version it says it serves. Fails when the process ends or the
 * time is over.
 */
export async function waitUntilReady(
  pid: number,
  connection: pg.ClientConfig,
): Promise<{ dataDirectory: string; version: string }> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  for (;;) {
    try {
      return await askServer(connection);
    } catch (error) {
      if (!isRunning(pid)) throw new Error('Postgres ended while it was starting; see its log', { cause: error });
      if (!isTransient(error) || Date.now() > deadline) {
        throw new Error('Postgres runs but cannot be used; see its log', { cause: error });
      }
    }
    await sleep(25);
  }
}

async function askServer(connection: pg.ClientConfig): Promise<{ dataDirectory: string; version: string }> {
  const client = new pg.Client({ ...connection, connectionTimeoutMillis: 5000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    const { rows } = await client.query<{ folder: string; version: string }>(
      "SELECT current_setting('data_directory') AS folder, current_setting('server_version') AS version",
    );
    return { dataDirectory: rows[0]!.folder, version: rows[0]!.version };
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** No socket yet, not listening yet, starting up or shutting down, too many connections. */
const isTransient = (error: unknown): boolean =>
  ['ENOENT', 'ECONNREFUSED', 'ECONNRESET', '57P03', '53300'].includes((error as NodeJS.ErrnoException).code ?? '') ||
  /timeout|terminated/i.test((error as Error).message);

/** The server that an earlier process of ours left running on the cluster; null when there is none. */
export function runningServer(home: ClusterHome): number | null {
  const file = path.join(home.cluster, 'postmaster.pid');
  if (!existsSync(file)) return null;
  const pid = Number(readFileSync(file, 'utf8').split('\n')[0]);
  return pid > 0 && isRunning(pid) && serves(pid, home.cluster) ? pid : null;
}

const serves = (pid: number, cluster: string): boolean => {
  const args = commandLineOf(pid) ?? [];
  return args.includes('-D') && args.includes(cluster);
};

/**
 * Removes what a killed server left, which would stop Postgres from starting: its children may live a moment longer, and the
 * process number in its lock files may belong to another program by now, or to its own remains that nobody has collected.
 */
export async function clearStaleLock(home: ClusterHome): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (leftovers(home.cluster).length > 0 && Date.now() < deadline) await sleep(50);
  const stuck = leftovers(home.cluster);
  if (stuck.length > 0) throw new Error(`processes ${stuck.join(', ')} still use ${home.cluster}`);
  const locks = [path.join(home.cluster, 'postmaster.pid'), path.join(home.sockets, '.s.PGSQL.5432.lock')];
  for (const lock of locks) rmSync(lock, { force: true });
}

function leftovers(cluster: string): number[] {
  if (!existsSync('/proc/self/cwd')) return [];
  return findProcesses((args) => args[0]?.includes('postgres') ?? false).filter((pid) => {
    try {
      return realpathSync(`/proc/${pid}/cwd`) === cluster;
    } catch {
      return false;
    }
  });
}

/** Fast shutdown (clients are disconnected, everything is written); ever harsher when that takes too long. */
export const stopServer = (pid: number): Promise<void> =>
  stopProcess(pid, [
    { signal: 'SIGINT', waitMs: 30_000 },
    { signal: 'SIGQUIT', waitMs: 5_000 },
    { signal: 'SIGKILL', waitMs: 5_000 },
  ]);
