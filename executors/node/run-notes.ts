import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { bootId, processOf } from './processes';

const runNote = z.object({
  boot_id: z.string().nullable(),
  /** What the run finds in its variable `WORKLOAD_DELIVERY_ID`; null when it has none. */
  delivery_id: z.string().nullable(),
  /** Null from before it was started until its number was known. */
  pid: z.int().min(2).nullable(),
  started: z.string().nullable(),
});
export type RunNote = z.infer<typeof runNote>;

const ENDING = '.json';

/** Notes of the processes that run, one file a run: what a start after a kill finds of them. */
export class RunNotes {
  constructor(private readonly folder: string) {}

  /** The run is about to begin, or has with this pid. Throws when the note cannot be written. */
  write(runKey: string, deliveryId: string | null, pid: number | null): void {
    const note: RunNote = {
      boot_id: bootId(),
      delivery_id: deliveryId,
      pid,
      started: pid === null ? null : (processOf(pid)?.started ?? null),
    };
    mkdirSync(this.folder, { recursive: true, mode: 0o700 });
    const file = this.fileOf(runKey);
    writeFileSync(`${file}.new`, JSON.stringify(note), { mode: 0o600 });
    renameSync(`${file}.new`, file);
  }

  /** Never throws: what cannot be removed is looked at by the next start. */
  remove(runKey: string): void {
    try {
      rmSync(this.fileOf(runKey), { force: true });
    } catch {
      // How the run ended is known all the same.
    }
  }

  /** Keys of the runs that are noted. */
  keys(): string[] {
    try {
      const names = readdirSync(this.folder).filter((name) => name.endsWith(ENDING));
      return names.map((name) => name.slice(0, -ENDING.length));
    } catch {
      return [];
    }
  }

  /** Null when there is none, or it cannot be read. */
  read(runKey: string): RunNote | null {
    try {
      return runNote.parse(JSON.parse(readFileSync(this.fileOf(runKey), 'utf8')));
    } catch {
      return null;
    }
  }

  private readonly fileOf = (runKey: string): string => path.join(this.folder, `${runKey}${ENDING}`);
}
