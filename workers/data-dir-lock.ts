import { makePrivateFolder } from '../ledger/private-files';
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
 * process uses the same folder under whatever path. The folder is closed to others, also one that was open. `mode` is the most
 * that may be open; default 0700, for root 0711, so that an embedded Postgres under another account reaches its own part.
 */
export async function openDataDir(
  folder: string,
  mode: 0o700 | 0o711 = process.getuid?.() === 0 ? 0o711 : 0o700,
): Promise<DataDir> {
  const path = makePrivateFolder(folder, mode);
  const lock: ExclusiveLock = await acquireExclusiveLock(`data-dir ${path}`).catch((error: unknown) => {
    if (!(error instanceof LockHeldError)) throw error;
    const holder = error.holderPid === null ? '' : ` (pid ${error.holderPid})`;
    throw new Error(`another workloadd${holder} is using ${path}`, { cause: error });
  });
  return { path, release: () => lock.release() };
}
