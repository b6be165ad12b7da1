import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { z } from 'zod';

/**
 * A spool is a folder: numbered segment files of records, and a cursor file that says what is done with.
 * A record is its payload's length and CRC-32 (both 32 bits, big endian), then the payload.
 */
const HEADER_BYTES = 8;

/** Longest payload in bytes; a length above it, or of zero, is not a record. */
const MAX_PAYLOAD_BYTES = 1_048_576;

/** A place in a spool: before it lies everything older. */
export interface SpoolPosition {
  segment: number;
  offset: number;
}

/** One record read back. */
export interface SpoolRecord {
  payload: Buffer;
  /** Offsets in the segment of its first byte and of the byte after its last. */
  start: number;
  end: number;
}

export function encodeRecord(payload: Buffer): Buffer {
  if (payload.length === 0 || payload.length > MAX_PAYLOAD_BYTES) throw new RangeError('a record has 1 byte to 1 MiB');
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt32BE(payload.length, 0);
  header.writeUInt32BE(crc32(payload), 4);
  return Buffer.concat([header, payload]);
}

/** The whole records at the start of `bytes`, which lie at `base` in their segment. A torn or wrong record ends the scan. */
export function scanRecords(bytes: Buffer, base: number): SpoolRecord[] {
  const records: SpoolRecord[] = [];
  let at = 0;
  while (at + HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32BE(at);
    const end = at + HEADER_BYTES + length;
    if (length === 0 || length > MAX_PAYLOAD_BYTES || end > bytes.length) break;
    const payload = bytes.subarray(at + HEADER_BYTES, end);
    if (crc32(payload) !== bytes.readUInt32BE(at + 4)) break;
    records.push({ payload, start: base + at, end: base + end });
    at = end;
  }
  return records;
}

export function segmentPath(folder: string, segment: number): string {
  return join(folder, `${String(segment).padStart(10, '0')}.seg`);
}

/** Numbers of the segments in a folder, oldest first. */
export function listSegments(folder: string): number[] {
  return readdirSync(folder)
    .map((name) => /^(\d{10})\.seg$/.exec(name)?.[1])
    .filter((digits) => digits !== undefined)
    .map(Number)
    .sort((a, b) => a - b);
}

const cursorFile = z.object({
  segment: z.number().int().nonnegative(),
  offset: z.number().int().nonnegative(),
  /** Records after the cursor that are done with too, as `segment:start`. */
  done: z.array(z.string()),
});
export type SpoolCursor = z.infer<typeof cursorFile>;

export function cursorPath(folder: string): string {
  return join(folder, 'cursor.json');
}

/** The stored cursor. A missing or broken one means "from the start": repeats are harmless, gaps are not. */
export function readCursor(folder: string): SpoolCursor {
  try {
    return cursorFile.parse(JSON.parse(readFileSync(cursorPath(folder), 'utf8')));
  } catch {
    return { segment: 0, offset: 0, done: [] };
  }
}
