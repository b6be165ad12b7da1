import { lstatSync, readdirSync, realpathSync, type Stats } from 'node:fs';
import path from 'node:path';
import { allows, wayInto, type HostUser } from '../../domain/file-access';

/** More files than this below one path are not looked at: a data dir holds a few dozen before its database's. */
const MOST_FILES = 5_000;

/** One thing the agent's user could get at, in words. */
export type Finding = string;

/**
 * Looks at each path and all that lies in it, with the folders above. What lies in a folder that the user cannot pass is not looked at
 * further, and neither are `shared` folders, which OpenCrow must reach. Paths that are not there are skipped.
 */
export function filesOpenTo(user: HostUser, paths: readonly string[], shared: readonly string[]): Finding[] {
  const skip = new Set(shared.map(realPath));
  return paths.flatMap((each) => {
    const real = realPath(each);
    const budget = { left: MOST_FILES };
    return walk(real, parentsOf(real), user, skip, budget);
  });
}

function walk(
  file: string,
  parents: readonly Stats[],
  user: HostUser,
  skip: ReadonlySet<string>,
  budget: { left: number },
): Finding[] {
  const stat = rightsOf(file);
  if (!stat || stat.isSymbolicLink() || skip.has(file) || (budget.left -= 1) < 0) return [];
  const folder = stat.isDirectory();
  const way = wayInto(stat, folder ? 'folder' : 'file', parents, user);
  if (way !== null) return [`${file} (${way})`];
  if (!folder || !allows(stat, user, 'pass')) return [];
  return namesIn(file).flatMap((name) => walk(path.join(file, name), [...parents, stat], user, skip, budget));
}

/** Whether a user reaches a file through all folders above it and may use it so; false when it is not there. */
export function canUse(user: HostUser, file: string, use: 'read' | 'write'): boolean {
  const real = realPath(file);
  const stat = rightsOf(real);
  if (!stat) return false;
  return parentsOf(real).every((folder) => allows(folder, user, 'pass')) && allows(stat, user, use);
}

/** The folders above a path, from the root down. */
function parentsOf(file: string): Stats[] {
  const above: string[] = [];
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    above.unshift(folder);
    if (folder === path.dirname(folder)) break;
  }
  return above.map(rightsOf).filter((stat) => stat !== null);
}

/** Null when it is not there, or lies where we may not look ourselves. */
function rightsOf(file: string): Stats | null {
  try {
    return lstatSync(file);
  } catch {
    return null;
  }
}

function realPath(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    return path.resolve(file);
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
