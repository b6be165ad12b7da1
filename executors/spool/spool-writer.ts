import { closeSync, fdatasync, fsync, ftruncateSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { encodeRecord, listSegments, readCursor, segmentPath, type SpoolPosition } from './spool-format';

const syncData = promisify(fdatasync);
const syncAll = promisify(fsync);

export interface SpoolWriterOptions {
  folder: string;
  /** Most bytes the folder's segments may hold. Default 64 MiB. */
  maxBytes?: number;
  /** A segment that has reached this size is followed by a new one. Default 4 MiB. */
  segmentBytes?: number;
  /** Everything before the position survives a power cut and may be forwarded. */
  onDurable(position: SpoolPosition): void;
  /** Something is wrong or soon will be. */
  onAlarm(alarm: SpoolAlarm): void;
}

/** `near_cap`: four fifths full. `full` and `disk`: records are refused, `dropped` in all since the start. */
export interface SpoolAlarm {
  kind: 'near_cap' | 'full' | 'disk';
  bytes: number;
  maxBytes: number;
  dropped: number;
  /** errno code for `disk`. */
  code?: string;
}

/**
 * The appending side of a spool; one per folder. It starts a segment of its own at each open, so what a crash tore off at
 * the end of an older one is never written over nor glued to something new. It never throws for a full disk or a full
 * spool: a record that cannot be kept is refused, counted and said aloud.
 */
export class SpoolWriter {
  readonly #maxBytes: number;
  readonly #segmentBytes: number;
  #segment: number;
  #fd: number | null = null;
  #offset = 0;
  #bytes = 0;
  #dropped = 0;
  #nearCap = false;
  /** Older segments whose last bytes are not yet synced. */
  #unsynced: number[] = [];
  #newSegment = false;
  #flushing: Promise<void> | null = null;
  #dirty = false;

  constructor(private readonly options: SpoolWriterOptions) {
    this.#maxBytes = options.maxBytes ?? 64 * 1024 * 1024;
    this.#segmentBytes = options.segmentBytes ?? 4 * 1024 * 1024;
    mkdirSync(options.folder, { recursive: true, mode: 0o700 });
    const existing = listSegments(options.folder);
    this.#segment = Math.max(readCursor(options.folder).segment, ...existing, 0) + 1;
    const last = existing.at(-1);
    if (last !== undefined) this.#unsynced.push(openSync(segmentPath(options.folder, last), 'r+'));
    this.#bytes = this.#measure();
    this.#openSegment(this.#segment);
    this.#markDirty();
  }

  /** Appends one record to the file at once and syncs soon after. False: refused, and gone. */
  append(payload: Buffer): boolean {
    const record = encodeRecord(payload);
    if (!this.#hasRoom(record.length)) return this.#refuse('full');
    try {
      if (this.#fd === null || this.#offset >= this.#segmentBytes) this.#roll();
      this.#write(record);
    } catch (error) {
      return this.#refuse('disk', (error as NodeJS.ErrnoException).code ?? 'unknown_error');
    }
    this.#offset += record.length;
    this.#bytes += record.length;
    this.#markDirty();
    return true;
  }

  /** Resolves when all that was appended before is durable, or the disk has refused. */
  async flush(): Promise<void> {
    while (this.#flushing) await this.#flushing;
  }

  async close(): Promise<void> {
    await this.flush();
    for (const fd of this.#unsynced) closeSync(fd);
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #write(record: Buffer): void {
    const fd = this.#fd as number;
    let written = 0;
    try {
      while (written < record.length) {
        written += writeSync(fd, record, written, record.length - written, this.#offset + written);
      }
    } catch (error) {
      if (written > 0) ftruncateSync(fd, this.#offset);
      throw error;
    }
  }

  /** Changes nothing when the file cannot be made. */
  #openSegment(segment: number): void {
    this.#fd = openSync(segmentPath(this.options.folder, segment), 'wx', 0o600);
    this.#segment = segment;
    this.#offset = 0;
    this.#newSegment = true;
  }

  #roll(): void {
    const full = this.#fd;
    this.#openSegment(this.#segment + 1);
    if (full !== null) this.#unsynced.push(full);
  }

  /** One sync at a time; what is appended meanwhile is taken by the next. */
  #markDirty(): void {
    this.#dirty = true;
    this.#flushing ??= this.#flushLoop().finally(() => {
      this.#flushing = null;
    });
  }

  async #flushLoop(): Promise<void> {
    await Promise.resolve();
    while (this.#dirty) {
      this.#dirty = false;
      const position = { segment: this.#segment, offset: this.#offset };
      try {
        await this.#sync();
        this.options.onDurable(position);
      } catch (error) {
        this.#alarm('disk', (error as NodeJS.ErrnoException).code ?? 'unknown_error');
        // The records are still in memory of the kernel: forwarding them now is the best that can be done for them.
        this.options.onDurable(position);
      }
    }
  }

  async #sync(): Promise<void> {
    const older = this.#unsynced.splice(0);
    // Taken now: a roll during the syncs below must not put another file in the place of the one promised.
    const current = this.#fd;
    const newSegment = this.#newSegment;
    this.#newSegment = false;
    try {
      for (const fd of older) await syncData(fd);
      if (current !== null) await syncData(current);
      if (newSegment) await this.#syncFolder();
    } finally {
      for (const fd of older) closeSync(fd);
    }
  }

  async #syncFolder(): Promise<void> {
    const fd = openSync(this.options.folder, 'r');
    try {
      await syncAll(fd);
    } finally {
      closeSync(fd);
    }
  }

  #hasRoom(more: number): boolean {
    if (this.#bytes + more > this.#maxBytes * 0.8) {
      this.#bytes = this.#measure();
      const near = this.#bytes + more > this.#maxBytes * 0.8;
      if (near && !this.#nearCap) this.#alarm('near_cap');
      this.#nearCap = near;
    }
    return this.#bytes + more <= this.#maxBytes;
  }

  /** What the segments take now: the reading side removes those that are done with. */
  #measure(): number {
    let bytes = 0;
    for (const segment of listSegments(this.options.folder)) {
      bytes += statSync(segmentPath(this.options.folder, segment), { throwIfNoEntry: false })?.size ?? 0;
    }
    return bytes;
  }

  #refuse(kind: 'full' | 'disk', code?: string): false {
    this.#dropped += 1;
    this.#alarm(kind, code);
    return false;
  }

  #alarm(kind: SpoolAlarm['kind'], code?: string): void {
    const alarm = { kind, bytes: this.#bytes, maxBytes: this.#maxBytes, dropped: this.#dropped };
    this.options.onAlarm(code === undefined ? alarm : { ...alarm, code });
  }
}
