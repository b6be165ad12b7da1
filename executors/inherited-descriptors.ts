import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import type { StdioOptions } from 'node:child_process';

/** O_CLOEXEC on Linux. */
const CLOSE_ON_EXEC = 0o2000000;
const OWN = '/proc/self/fdinfo';

export interface ChildDescriptors {
  stdio: StdioOptions;
  /** To call when the child has been started. */
  release: () => void;
}

/**
 * What a command gets as descriptors: no stdin, pipes for its output, and nothing else of this process. Some descriptors would be
 * inherited, the lifecycle socket among them: a command could read from it, and keep it taken when its worker is gone. In their place it
 * gets /dev/null. This needs Linux; elsewhere such descriptors are inherited.
 */
export function childDescriptors(): ChildDescriptors {
  const stdio: ('ignore' | 'pipe' | number)[] = ['ignore', 'pipe', 'pipe'];
  const inherited = inheritable();
  if (inherited.length === 0) return { stdio, release: () => undefined };
  const nowhere = openSync('/dev/null', 'r+');
  for (const descriptor of inherited) {
    while (stdio.length < descriptor) stdio.push('ignore');
    stdio[descriptor] = nowhere;
  }
  return { stdio, release: () => closeSync(nowhere) };
}

/** The open descriptors above stderr that a child would inherit, in order. */
function inheritable(): number[] {
  return entries(OWN)
    .map(Number)
    .filter((descriptor) => descriptor > 2 && isInherited(descriptor))
    .sort((one, other) => one - other);
}

function entries(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function isInherited(descriptor: number): boolean {
  try {
    const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(`${OWN}/${descriptor}`, 'utf8'))?.[1];
    return flags !== undefined && (parseInt(flags, 8) & CLOSE_ON_EXEC) === 0;
  } catch {
    // Closed meanwhile.
    return false;
  }
}
