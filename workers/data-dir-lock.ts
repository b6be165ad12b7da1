import { mkdirSync, realpathSync } from 'node:fs';
import { acquireExclusiveLock, LockHeldError } from './exclusive-lock';
import type { ExclusiveLock } from './exclusive-lock';

/** A data dir that this process alone uses. */
export interface DataDir {
  /** Its real path. */
  path: string;
  /** Gives the data dir free for others. */
  release(): Promise<void>;
}

/**
 * Makes the data dir if there is none, and takes its lock, which even kill -9 frees. Fails, naming the holder, when another
 * process uses the same folder under whatever path. A folder made here is closed to others; made by root it can be passed
 * through, so that an embedded Postgres under another account reaches its own part.
 */
export async function openDataDir(folder: string): Promise<DataDir> {
  mkdirSync(folder, { recursive: true, mode: process.getuid?.() === 0 ? 0o711 : 0o700 });
  const path = realpathSync(folder);
  const lock: ExclusiveLock = await acquireExclusiveLock(`data-dir ${path}`).catch((error: unknown) => {
    if (!(error instanceof LockHeldError)) throw error;
    const holder = error.holderPid === null ? '' : ` (pid ${error.holderPid})`;
    throw new Error(`another workloadd${holder} is using ${path}`, { cause: error });
  });
  return { path, release: () => lock.release() };
}
