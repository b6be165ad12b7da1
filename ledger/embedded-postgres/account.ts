import { execFileSync, spawnSync } from 'node:child_process';

/** The account that runs Postgres when we are root, which Postgres refuses. */
export interface Account {
  name: string;
  uid: number;
  gid: number;
}

const lookUp = (name: string): Account | null => {
  try {
    const [uid, gid] = ['-u', '-g'].map((flag) =>
      Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })),
    );
    return { name, uid: uid!, gid: gid! };
  } catch {
    return null;
  }
};

/**
 * The account for Postgres: undefined (our own) unless we are root; then `WORKLOADD_POSTGRES_USER`, or `postgres` when that
 * account exists, or `nobody`. Fails when the named account does not exist or is root itself.
 */
export function postgresAccount(env: NodeJS.ProcessEnv = process.env): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const wanted = env['WORKLOADD_POSTGRES_USER'];
  const account = wanted ? lookUp(wanted) : (lookUp('postgres') ?? lookUp('nobody'));
  if (!account || account.uid === 0) {
    throw new Error(
      `Postgres does not run as root and ${wanted ? `the account "${wanted}"` : 'neither "postgres" nor "nobody"'} can be used. ` +
        'Set WORKLOADD_POSTGRES_USER to an existing account, or DATABASE_URL to a Postgres of your own.',
    );
  }
  return account;
}

/** Whether the account can enter a folder. Tried for real, because permission bits do not tell all (ACLs, mounts). */
export function canEnter(folder: string, account: Account | undefined): boolean {
  return succeeds('/bin/sh', ['-c', 'cd "$0"', folder], account);
}

/** Whether a command, run as the account, exits with 0. */
export function succeeds(command: string, args: readonly string[], account: Account | undefined): boolean {
  const { status } = spawnSync(command, [...args], {
    cwd: '/',
    stdio: 'ignore',
    timeout: 20_000,
    env: { PATH: process.env['PATH'], LC_ALL: 'C' },
    ...(account && { uid: account.uid, gid: account.gid }),
  });
  return status === 0;
}
