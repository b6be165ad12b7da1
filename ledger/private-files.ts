import { closeSync, constants, fchmodSync, fstatSync, mkdirSync, openSync, readdirSync, realpathSync } from 'node:fs';
import path from 'node:path';

const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;

/**
 * Makes a folder that others cannot look into, or closes one that is there; returns its real path. `mode` is the most that may
 * be open: 0700, or 0711 when another account has to pass through to a part of it. An existing folder is never opened further.
 * Fails when it is open to others and belongs to another account.
 */
export function makePrivateFolder(folder: string, mode: 0o700 | 0o711): string {
  mkdirSync(folder, { recursive: true, mode });
  const real = realpathSync(folder);
  restrict(real, mode);
  return real;
}

/**
 * Closes to others the files in a folder, and those of its folders that are named, whatever the umask was when they were made. Other
 * folders, symbolic links, pipes and sockets are left alone. Nobody else may be able to write the folder.
 */
export function closeContents(folder: string, folders: readonly string[] = []): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.isFile()) restrict(path.join(folder, entry.name), 0o600);
    else if (entry.isDirectory() && folders.includes(entry.name)) restrict(path.join(folder, entry.name), 0o700);
  }
}

/** Through a descriptor, so that what was looked at is what is changed. */
function restrict(file: string, most: number): void {
  const handle = openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    const now = fstatSync(handle).mode & 0o7777;
    const wanted = (now & most) | (most & 0o700);
    if ((now & 0o777) !== wanted) fchmodSync(handle, wanted);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error;
    throw new Error(
      `${file} is open to other users and belongs to one of them: use a folder of this account's own, for example one below it`,
      { cause: error },
    );
  } finally {
    closeSync(handle);
  }
}
