import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  fsyncSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { canEnter } from './account';
import type { Account } from './account';
import { SYSTEM_FOLDER } from './binaries';

/** Linux allows 107 bytes, other systems 103. */
const SOCKET_PATH_LIMIT = 103;
const SOCKET_NAME = '.s.PGSQL.5432';

/** Where one cluster and its belongings lie. */
export interface ClusterHome {
  /** Holds everything below but perhaps the sockets. */
  folder: string;
  /** PGDATA, of the account's own. */
  cluster: string;
  /** Holds the Unix socket; only we and the account may enter. */
  sockets: string;
  passwordFile: string;
  logFile: string;
}

/**
 * Decides where the cluster of a data dir lies, and makes the folders: `<data-dir>/postgres`; or, when Postgres runs under
 * another account that cannot get there, a folder below `/var/lib/opencrow-workloadd/clusters` that the file
 * `<data-dir>/postgres/location` names.
 */
export function clusterHome(
  dataDir: string,
  account: Account | undefined,
  announce: (message: string) => void,
): ClusterHome {
  const own = path.join(realpathSync(dataDir), 'postgres');
  makeFolder(own, account ? 0o711 : 0o700);
  const folder = readLocation(own) ?? (canEnter(own, account) ? own : newSystemFolder(own, announce));
  const sockets = socketFolder(folder);
  makeFolder(sockets, 0o700, account);
  return {
    folder,
    cluster: path.join(folder, 'cluster'),
    sockets,
    passwordFile: path.join(own, 'superuser.password'),
    logFile: path.join(own, 'server.log'),
  };
}

/** Deletes what {@link clusterHome} made. The server must be stopped. */
export function removeClusterHome(dataDir: string): void {
  const own = path.join(realpathSync(dataDir), 'postgres');
  const folder = readLocation(own) ?? own;
  for (const each of [socketFolder(folder), folder, own]) rmSync(each, { recursive: true, force: true });
}

/** Creates a private file with its content on disk, or not at all. */
export function writeDurably(file: string, content: string): void {
  const draft = `${file}.new`;
  rmSync(draft, { force: true });
  const handle = openSync(draft, 'wx', 0o600);
  writeFileSync(handle, content);
  fsyncSync(handle);
  closeSync(handle);
  renameDurably(draft, file);
}

/** Renames, and makes sure that the new name survives a power loss. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to);
  const folder = openSync(path.dirname(to), 'r');
  fsyncSync(folder);
  closeSync(folder);
}

/** Makes a folder with exactly this mode and owner; refuses one that somebody else made. */
export function makeFolder(folder: string, mode: number, account?: Account): void {
  mkdirSync(folder, { recursive: true, mode });
  const found = lstatSync(folder);
  const owner = process.getuid?.() ?? found.uid;
  if (!found.isDirectory() || ![owner, account?.uid].includes(found.uid)) {
    throw new Error(`${folder} belongs to somebody else; it must be a folder of this account's own`);
  }
  if (account) chownSync(folder, account.uid, account.gid);
  chmodSync(folder, mode);
}

function readLocation(own: string): string | null {
  try {
    return readFileSync(path.join(own, 'location'), 'utf8').trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function newSystemFolder(own: string, announce: (message: string) => void): string {
  const folder = path.join(SYSTEM_FOLDER, 'clusters', randomBytes(6).toString('hex'));
  announce(`Only root may enter ${path.dirname(own)}, so the database files go to ${folder}.`);
  makeFolder(SYSTEM_FOLDER, 0o755);
  makeFolder(path.dirname(folder), 0o711);
  makeFolder(folder, 0o711);
  writeDurably(path.join(own, 'location'), `${folder}\n`);
  return folder;
}

function socketFolder(folder: string): string {
  const usual = path.join(folder, 'sockets');
  if (Buffer.byteLength(path.join(usual, SOCKET_NAME)) <= SOCKET_PATH_LIMIT) return usual;
  const hash = createHash('sha256').update(folder).digest('hex').slice(0, 16);
  return path.join(os.tmpdir(), `workloadd-pg-${process.getuid?.() ?? 0}-${hash}`);
}
