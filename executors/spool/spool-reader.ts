import { mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cursorPath, listSegments, readCursor, scanRecords, segmentPath, type SpoolPosition } from './spool-format';

/** A record that is not done with. */
export interface SpoolEntry {
  readonly segment: number;
  readonly start: number;
  readonly end: number;
  readonly payload: Buffer;
}

interface WindowEntry extends SpoolEntry {
  done: boolean;
}

export interface SpoolReaderOptions {
  folder: string;
  /** Most entries held in memory. Default 2,000. */
  window?: number;
  /** Bytes at the end of a segment were no record (torn by a crash, or damaged); they were set aside. */
  onTornTail?(tail: { segment: number; bytes: number }): void;
}

/**
 * The reading side of a spool; one per folder, in the process of its writer. Entries come in the order written; each is
 * acknowledged by itself, so one that waits holds up no other. After a crash entries may come again, none is left out.
 */
export class SpoolReader {
  readonly #window: WindowEntry[] = [];
  readonly #size: number;
  readonly #doneEarly: Set<string>;
  /** Everything before it is done with. */
  #cursor: SpoolPosition;
  /** Where reading goes on. */
  #next: SpoolPosition;
  #durable: SpoolPosition;

  constructor(private readonly options: SpoolReaderOptions) {
    this.#size = options.window ?? 2_000;
    const { segment, offset, done } = readCursor(options.folder);
    this.#cursor = { segment, offset };
    this.#next = this.#cursor;
    this.#durable = this.#cursor;
    this.#doneEarly = new Set(done);
  }

  /** The writer says: all before `position` is on disk. */
  noteDurable(position: SpoolPosition): void {
    this.#durable = position;
  }

  /** The entries to do, oldest first, after reading what has become durable. */
  async entries(): Promise<readonly SpoolEntry[]> {
    await this.#fill();
    return this.#window.filter((entry) => !entry.done);
  }

  /** Something durable is not done with. */
  hasMore(): boolean {
    return this.#window.some((entry) => !entry.done) || isBefore(this.#next, this.#durable);
  }

  /** These entries are done with: they are forgotten on disk too, and emptied segments removed. */
  async acknowledge(entries: readonly SpoolEntry[]): Promise<void> {
    for (const entry of entries) (entry as WindowEntry).done = true;
    while (this.#window[0]?.done) {
      const { segment, end } = this.#window.shift() as WindowEntry;
      this.#cursor = { segment, offset: end };
    }
    if (this.#window.length === 0) this.#cursor = this.#next;
    await this.#storeCursor();
    await this.#removeDoneSegments();
  }

  async #fill(): Promise<void> {
    while (this.#window.length < this.#size && isBefore(this.#next, this.#durable)) {
      const { segment, offset } = this.#next;
      const closed = segment < this.#durable.segment;
      const readAll = await this.#read(segment, closed ? Infinity : this.#durable.offset);
      if (readAll && closed) this.#next = { segment: this.#segmentAfter(segment), offset: 0 };
      // What is said to be durable is not there: asking again at once would ask for ever.
      else if (this.#next.offset === offset) return;
    }
  }

  /** Reads a segment from where reading stands up to `limit`. False: the window was full before that. */
  async #read(segment: number, limit: number): Promise<boolean> {
    const base = this.#next.offset;
    const bytes = await readRange(segmentPath(this.options.folder, segment), base, limit);
    let validEnd = base;
    for (const { payload, start, end } of scanRecords(bytes, base)) {
      if (this.#window.length >= this.#size) return false;
      validEnd = end;
      this.#next = { segment, offset: end };
      if (!this.#doneEarly.delete(`${segment}:${start}`)) {
        this.#window.push({ segment, start, end, payload, done: false });
      }
    }
    const tail = bytes.subarray(validEnd - base);
    if (tail.length > 0) await this.#setAside(segment, tail);
    this.#next = { segment, offset: base + bytes.length };
    return true;
  }

  async #setAside(segment: number, tail: Buffer): Promise<void> {
    this.options.onTornTail?.({ segment, bytes: tail.length });
    const folder = join(this.options.folder, 'torn');
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, `${segment}.tail`), tail, { mode: 0o600 });
  }

  #segmentAfter(segment: number): number {
    return listSegments(this.options.folder).find((number) => number > segment) ?? this.#durable.segment;
  }

  /** Not synced: a cursor that is too old only makes entries come again. */
  async #storeCursor(): Promise<void> {
    const done = this.#window.filter((entry) => entry.done).map((entry) => `${entry.segment}:${entry.start}`);
    done.push(...this.#doneEarly);
    const path = cursorPath(this.options.folder);
    await writeFile(`${path}.tmp`, JSON.stringify({ ...this.#cursor, done }), { mode: 0o600 });
    await rename(`${path}.tmp`, path);
  }

  async #removeDoneSegments(): Promise<void> {
    for (const segment of listSegments(this.options.folder)) {
      if (segment >= this.#cursor.segment || segment >= this.#durable.segment) return;
      await rm(segmentPath(this.options.folder, segment), { force: true });
    }
  }
}

function isBefore(a: SpoolPosition, b: SpoolPosition): boolean {
  return a.segment < b.segment || (a.segment === b.segment && a.offset < b.offset);
}

/** The bytes of a file from `start` up to `limit`; empty when the file is gone. */
async function readRange(path: string, start: number, limit: number): Promise<Buffer> {
  let handle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0);
    throw error;
  }
  try {
    const end = Math.min((await handle.stat()).size, limit);
    if (end <= start) return Buffer.alloc(0);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(end - start), 0, end - start, start);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
