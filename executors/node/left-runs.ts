import { RUN_VARIABLES } from '../../contracts/run';
import { pause } from '../../domain/backoff';
import { bootId, hasVariable, hostProcesses, processOf } from './processes';
import { RunNotes, type RunNote } from './run-notes';

export interface LeftRunsOptions {
  /** Where the runs are noted. */
  folder: string;
  /** Runs of this process. */
  running: () => ReadonlySet<string>;
  /** Milliseconds from the request to end to the kill. Default 5,000. */
  graceMs?: number;
}

const LOOK_MS = 50;
/** A killed process is waited for this long. */
const KILLED_MS = 2_000;

/**
 * Ends the processes that a process of this worker left when it was killed: each noted run that is not this process's gets its
 * whole group ended, and its note is removed. A pid alone is never trusted: the process must have begun when the noted one did or,
 * where that is not known or it has ended before its group, carry the variable of its delivery. Without /proc only the notes
 * are removed. Answers with the keys of the runs that it ended.
 */
export async function endLeftRuns({ folder, running, graceMs = 5_000 }: LeftRunsOptions): Promise<string[]> {
  const notes = new RunNotes(folder);
  const left = notes.keys().filter((key) => !running().has(key));
  const ended = await Promise.all(
    left.map(async (key) => {
      const note = notes.read(key);
      const groups = note ? groupsOf(note) : [];
      await Promise.all(groups.map((group) => endGroup(group, graceMs)));
      notes.remove(key);
      return groups.length > 0 ? [key] : [];
    }),
  );
  return ended.flat();
}

function groupsOf({ boot_id, delivery_id, pid, started }: RunNote): number[] {
  if (boot_id === null || boot_id !== bootId()) return [];
  const own = processOf(process.pid)?.group;
  const groups = new Set<number>();
  if (pid !== null && started !== null && processOf(pid)?.started === started) groups.add(pid);
  else if (delivery_id !== null) {
    for (const { pid: member, group } of hostProcesses()) {
      if (pid !== null && group !== pid) continue;
      if (hasVariable(member, RUN_VARIABLES.deliveryId, delivery_id)) groups.add(group);
    }
  }
  return [...groups].filter((group) => group > 1 && group !== own);
}

async function endGroup(group: number, graceMs: number): Promise<void> {
  for (const [signal, waitMs] of [
    ['SIGTERM', graceMs],
    ['SIGKILL', KILLED_MS],
  ] as const) {
    try {
      process.kill(-group, signal);
    } catch {
      return; // Nobody is left in it.
    }
    const until = Date.now() + waitMs;
    while (Date.now() < until && hostProcesses().some((each) => each.group === group)) await pause(LOOK_MS);
  }
}
