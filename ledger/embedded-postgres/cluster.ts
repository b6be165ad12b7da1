import { execFile } from 'node:child_process';
import { chownSync, existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { Secret } from '../../contracts/secret';
import { randomSecret } from '../../domain/secret';
import type { Account } from './account';
import type { PostgresBinaries } from './binaries';
import { makeFolder, renameDurably, writeDurably } from './home';
import type { ClusterHome } from './home';

const run = promisify(execFile);

/** The superuser of the embedded cluster. */
export const SUPERUSER = 'workloadd';

/** The superuser's password: random, made once, readable by us only. */
export function superuserPassword(home: ClusterHome): Secret {
  if (!existsSync(home.passwordFile)) {
    if (existsSync(home.cluster)) throw new Error(`${home.passwordFile} is missing, so its database cannot be opened`);
    writeDurably(home.passwordFile, randomSecret());
  }
  return new Secret(readFileSync(home.passwordFile, 'utf8').trim());
}

/**
 * Makes the cluster if there is none. It is made under another name and renamed when complete, so a crash leaves only
 * something that the next start removes. Fails when the cluster was made by another major version.
 */
export async function ensureCluster(
  home: ClusterHome,
  binaries: PostgresBinaries,
  account: Account | undefined,
): Promise<void> {
  for (const name of readdirSync(home.folder)) {
    if (name.startsWith('incomplete-')) rmSync(path.join(home.folder, name), { recursive: true, force: true });
  }
  if (existsSync(home.cluster)) {
    makeFolder(home.cluster, 0o700, account);
    return requireSameMajor(home, binaries);
  }
  const password = superuserPassword(home);
  const draft = path.join(home.folder, `incomplete-${process.pid}`);
  makeFolder(draft, 0o700, account);
  const cluster = path.join(draft, 'cluster');
  const passwordFile = path.join(draft, 'password');
  writeFileSync(passwordFile, `${password.reveal()}\n`, { mode: 0o600 });
  if (account) chownSync(passwordFile, account.uid, account.gid);
  await run(binaries.initdb, initdbArguments(cluster, passwordFile), {
    cwd: '/',
    env: serverEnvironment(),
    ...(account && { uid: account.uid, gid: account.gid }),
  });
  rmSync(passwordFile);
  renameDurably(cluster, home.cluster);
  rmSync(draft, { recursive: true });
}

const initdbArguments = (cluster: string, passwordFile: string): string[] => [
  `--pgdata=${cluster}`,
  `--username=${SUPERUSER}`,
  `--pwfile=${passwordFile}`,
  '--auth=scram-sha-256',
  '--encoding=UTF8',
  // Postgres' own locale: the order of texts must not change with the machine's C library.
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
  '--locale=C',
  '--data-checksums',
  '--no-instructions',
];

/** Nothing of our environment, which may hold secrets, reaches the server. */
export const serverEnvironment = (): NodeJS.ProcessEnv => ({ PATH: process.env['PATH'], LC_ALL: 'C', TZ: 'UTC' });

function requireSameMajor(home: ClusterHome, binaries: PostgresBinaries): void {
  const made = readFileSync(path.join(home.cluster, 'PG_VERSION'), 'utf8').trim();
  const ours = binaries.version.split('.')[0];
  if (made !== ours) {
    throw new Error(
      `The database in ${home.cluster} was made by Postgres ${made}, this is Postgres ${ours}: ` +
        'dump it with the earlier release of workloadd (pg_dump) and restore it into a new data dir.',
    );
  }
}
