import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { whenEnded } from './background-process';
import { closeContents } from './private-files';
import { postgresAccount } from './embedded-postgres/account';
import { postgresBinaries } from './embedded-postgres/binaries';
import type { PostgresBinaries } from './embedded-postgres/binaries';
import { ensureCluster, superuserPassword } from './embedded-postgres/cluster';
import { clusterHome, removeClusterHome } from './embedded-postgres/home';
import type { ClusterHome } from './embedded-postgres/home';
import {
  clearStaleLock,
  connectionTo,
  launchServer,
  runningServer,
  stopServer,
  waitUntilReady,
} from './embedded-postgres/server';

const DATABASE = 'workloadd';

export interface EmbeddedPostgresOptions {
  /** An existing folder. The caller holds its lock, so that nobody else starts a server on it. */
  dataDir: string;
  /** Told, in a sentence for people, what takes long or is unexpected. Default: nobody. */
  announce?: (message: string) => void;
  /** Postgres settings that replace ours, for example `{ fsync: 'off' }` in tests. Default none. */
  settings?: Readonly<Record<string, string>>;
}

/** A running Postgres server of our own. */
export interface EmbeddedPostgres {
  /** For `pg`; includes the password. Valid again after a restart on the same data dir. */
  connection: pg.ClientConfig;
  /** The same as a `postgresql://` URL. Holds the password: never log it or put it into arguments. */
  url: string;
  pid: number;
  /** Whether the server was left running by an earlier process and has been taken over. */
  adopted: boolean;
  /** Resolves when the server ends without {@link stop}. */
  ended: Promise<void>;
  /** Stops the server within about 40 s, whatever it does. Calling it again is harmless. */
  stop(): Promise<void>;
}

/**
 * Starts a real Postgres server on a data dir, or takes over the one that a killed process left there. It listens on a private
 * Unix socket only, writes with fsync, and needs its random password. As root it runs under another account
 * (`WORKLOADD_POSTGRES_USER`). Fails when the platform has no packaged Postgres, or the cluster is of another major version.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const announce = options.announce ?? (() => undefined);
  const account = postgresAccount();
  const binaries = postgresBinaries(account, announce);
  const home = clusterHome(options.dataDir, account, announce);
  closeContents(path.dirname(home.passwordFile));
  await ensureCluster(home, binaries, account);
  const admin = connectionTo(home, superuserPassword(home), 'postgres');
  const orphan = await adopt(home, binaries, admin, announce);
  let pid = orphan;
  if (pid === null) {
    await clearStaleLock(home);
    pid = await launchServer(home, binaries, account, options.settings ?? {});
    await waitUntilReady(pid, admin).catch(async (error: unknown) => {
      await stopServer(pid!);
      throw new Error(`The embedded Postgres did not start; its log is ${home.logFile}`, { cause: error });
    });
  }
  await ensureDatabase(admin);
  return handleOf(pid, { ...admin, database: DATABASE }, orphan !== null);
}

/** How to reach the server that runs on a data dir now, for commands beside its owner; null when none runs. */
export function findEmbeddedPostgres(dataDir: string): pg.ClientConfig | null {
  if (!existsSync(path.join(dataDir, 'postgres'))) return null;
  const home = clusterHome(dataDir, postgresAccount(), () => undefined);
  return runningServer(home) === null ? null : connectionTo(home, superuserPassword(home), DATABASE);
}

/** Stops the server of a data dir, if one runs, and deletes its database with all that belongs to it. */
export async function removeEmbeddedPostgres(dataDir: string): Promise<void> {
  const pid = runningServer(clusterHome(dataDir, postgresAccount(), () => undefined));
  if (pid !== null) await stopServer(pid);
  removeClusterHome(dataDir);
}

/** Takes over a server that still runs on the cluster; one that cannot be used as it is gets stopped. */
async function adopt(
  home: ClusterHome,
  binaries: PostgresBinaries,
  admin: pg.ClientConfig,
  announce: (message: string) => void,
): Promise<number | null> {
  const pid = runningServer(home);
  if (pid === null) return null;
  const server = await waitUntilReady(pid, admin).catch(() => null);
  const isOurs = server !== null && realpathSync(server.dataDirectory) === home.cluster;
  const isCurrent = isOurs && binaries.version.startsWith(server.version.split(' ')[0]!);
  if (isCurrent) {
    announce(`Took over the embedded Postgres (pid ${pid}) that an earlier workloadd left running.`);
    return pid;
  }
  announce(`Stopping the embedded Postgres (pid ${pid}) that an earlier workloadd left running.`);
  await stopServer(pid);
  return null;
}

async function ensureDatabase(admin: pg.ClientConfig): Promise<void> {
  const client = new pg.Client(admin);
  await client.connect();
  try {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${DATABASE}`);
  } finally {
    await client.end();
  }
}

function handleOf(pid: number, connection: pg.ClientConfig, adopted: boolean): EmbeddedPostgres {
  const stopping = new AbortController();
  const credentials = `${connection.user!}:${encodeURIComponent(connection.password as string)}`;
  return {
    connection,
    url: `postgresql://${credentials}@localhost:5432/${connection.database!}?host=${encodeURIComponent(connection.host!)}`,
    pid,
    adopted,
    ended: whenEnded(pid, stopping.signal),
    stop: () => {
      stopping.abort();
      return stopServer(pid);
    },
  };
}
