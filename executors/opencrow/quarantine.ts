import { appendFile, mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LifecycleRecord } from '../../contracts/lifecycle';

const MAX_BYTES = 16 * 1024 * 1024;

/** Where records go that the control plane will never take, with its reason: `quarantine.jsonl` in a folder. */
export class Quarantine {
  readonly #path: string;

  constructor(private readonly folder: string) {
    this.#path = join(folder, 'quarantine.jsonl');
  }

  /** Sets one record aside. False: the file has reached 16 MiB and takes no more. */
  async add(record: LifecycleRecord, reason: { code: string; detail: string }): Promise<boolean> {
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const size = (await stat(this.#path).catch(() => null))?.size ?? 0;
    if (size >= MAX_BYTES) return false;
    const line = JSON.stringify({ at: new Date().toISOString(), ...reason, record });
    await appendFile(this.#path, `${line}\n`, { mode: 0o600, flush: true });
    return true;
  }
}
