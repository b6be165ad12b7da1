import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  renameSync,
  rmdirSync,
  unlinkSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** How the folders begin in which a socket gets its rights. */
const draftPrefix = (path: string): string => `.${basename(path)}-`;

export interface BindOptions {
  /** Permission bits of the socket. */
  mode: number;
  /** Group of the socket; null leaves it to the process. */
  groupId: number | null;
  /** Binds at a path where nothing is. */
  bind: (path: string) => void;
}

/**
 * Binds a Unix socket so that it appears at `path` with its rights already set, whatever the umask is. Until then it lies in a new
 * folder that nobody else may enter, and that is addressed by its descriptor: so a symbolic link that another user puts in the way
 * is never followed. What was at `path` is replaced, unless it is a folder.
 */
export function bindInto(path: string, { mode, groupId, bind }: BindOptions): void {
  removeDrafts(path);
  const folder = mkdtempSync(join(dirname(path), draftPrefix(path)));
  const handle = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    requireOwn(handle, folder);
    fchmodSync(handle, 0o700);
    const inside = existsSync('/proc/self/fd') ? `/proc/self/fd/${handle}` : folder;
    const draft = `${inside}/s`;
    bind(draft);
    if (groupId !== null) chownSync(draft, process.getuid?.() ?? 0, groupId);
    chmodSync(draft, mode);
    renameSync(draft, path);
  } finally {
    closeSync(handle);
    removeDraft(folder);
  }
}

/** Another user who may write the parent could have put a folder of their own in the place of ours. */
function requireOwn(handle: number, folder: string): void {
  if (fstatSync(handle).uid !== (process.geteuid?.() ?? 0)) throw new Error(`somebody else replaced ${folder}`);
}

/** What a process left that was killed while it bound. */
function removeDrafts(path: string): void {
  for (const name of readdirSync(dirname(path))) {
    if (name.startsWith(draftPrefix(path))) removeDraft(join(dirname(path), name));
  }
}

function removeDraft(folder: string): void {
  try {
    if (lstatSync(folder).isDirectory()) {
      if (readdirSync(folder).includes('s')) unlinkSync(join(folder, 's'));
    }
    rmdirSync(folder);
  } catch {
    // It is not ours, or gone: nothing depends on it.
  }
}
