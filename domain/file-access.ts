/** A user of the host, as the kernel judges by: its id and all its groups. */
export interface HostUser {
  uid: number;
  gids: readonly number[];
}

/** What of a file decides who may use it. */
export interface FileRights {
  uid: number;
  gid: number;
  /** Permission bits, with the sticky bit. */
  mode: number;
}

/** A way to use a file, as its permission bit. Of a folder: list it, change what is in it, pass through it. */
export const FILE_USE = { read: 4, write: 2, pass: 1 } as const;
export type FileUse = keyof typeof FILE_USE;

const STICKY = 0o1000;

/** Whether the mode bits let a user use a file. Only the first class that fits counts, as in the kernel. ACLs are not known here. */
export function allows(file: FileRights, user: HostUser, use: FileUse): boolean {
  if (user.uid === 0) return true;
  const shift = file.uid === user.uid ? 6 : user.gids.includes(file.gid) ? 3 : 0;
  return ((file.mode >> shift) & FILE_USE[use]) !== 0;
}

/** Whether a user may rename or replace what lies in a folder and belongs to `owner`, or may give itself that right. */
export function mayReplaceIn(folder: FileRights, owner: number, user: HostUser): boolean {
  if (user.uid === 0 || folder.uid === user.uid) return true;
  if (!allows(folder, user, 'write') || !allows(folder, user, 'pass')) return false;
  return (folder.mode & STICKY) === 0 || owner === user.uid;
}

/**
 * Whether a user could get at a file: by reading or writing it, by being its owner, or by replacing it or a folder above it. `parents`
 * are the folders from the root down. Null when it cannot; otherwise how, in words.
 */
export function wayInto(
  file: FileRights,
  kind: 'file' | 'folder',
  parents: readonly FileRights[],
  user: HostUser,
): string | null {
  const chain = [...parents, file];
  for (const [depth, folder] of parents.entries()) {
    const reached = parents.slice(0, depth).every((each) => allows(each, user, 'pass'));
    if (reached && mayReplaceIn(folder, chain[depth + 1]!.uid, user)) return 'could replace it';
  }
  if (!parents.every((folder) => allows(folder, user, 'pass'))) return null;
  if (file.uid === user.uid) return 'owns it';
  if (allows(file, user, 'read')) return kind === 'file' ? 'can read it' : 'can list it';
  return allows(file, user, 'write') ? 'can write it' : null;
}
