import { readdirSync, readFileSync } from 'node:fs';

/** A process of this host, as Linux tells of it. */
export interface HostProcess {
  pid: number;
  group: number;
  /** When it began, in ticks since the host did: with the pid it stands for this one process. */
  started: string;
}

/** Stands for one run of the host's kernel; null where there is no /proc. */
export const bootId = (): string | null => textOf('/proc/sys/kernel/random/boot_id')?.trim() ?? null;

/** Null when it is gone or has ended, and where there is no /proc. */
export function processOf(pid: number): HostProcess | null {
  const stat = textOf(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The name before it is in brackets and may hold anything.
  const [state, , group, , ...rest] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (state === 'Z' || state === 'X') return null;
  return { pid, group: Number(group), started: rest[15]! };
}

/** All that run. */
export const hostProcesses = (): HostProcess[] =>
  entriesOf('/proc').flatMap((name) => (/^[0-9]+$/.test(name) ? (processOf(Number(name)) ?? []) : []));

/** Whether a process was given this variable with this value. False when that may not be seen. */
export const hasVariable = (pid: number, name: string, value: string): boolean =>
  textOf(`/proc/${pid}/environ`)?.split('\0').includes(`${name}=${value}`) ?? false;

function textOf(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
