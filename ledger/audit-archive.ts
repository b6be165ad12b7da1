import { createHash, randomBytes } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { GENESIS } from '../domain/audit-chain';
import { ndjson } from '../domain/audit-file';
import type { Finding } from '../domain/finding';
import { checkAuditFile } from './audit-file-reader';
import { exportAudit } from './audit-export';
import { hashBefore, type PositionRange } from './audit-stream';
import type { Database, Queryable } from './database';
import { openSnapshot } from './snapshot';

export interface ArchiveOptions {
  chain: string;
  /** Rows older than this go, milliseconds. */
  olderThanMs: number;
  /** Where the files go; made (0700) when it is not there. */
  folder: string;
  /** Who, for the audit. */
  actor: string;
  /** Rows in one file. Default 100,000. */
  segmentRows?: number;
}

/** A segment that is in a file now. */
export interface ArchivedFile extends PositionRange {
  file: string;
}

/** The rows to archive are not what was sealed; nothing was removed. */
export class BrokenSegment extends Error {
  constructor(
    readonly chain: string,
    readonly finding: Finding,
  ) {
    super(`chain ${chain} is broken, so nothing of it is archived: ${finding.message} (${finding.code})`);
    this.name = 'BrokenSegment';
  }
}

const SEGMENT_ROWS = 100_000;
const REMOVE_AT_ONCE = 2_000;

/**
 * Moves the old rows of a chain into files: written, flushed, read again and checked, recorded with the hash the chain goes on
 * from, and only then removed. May be ended and run again at any point. Returns the files of this run.
 */
export async function archiveChain(db: Database, options: ArchiveOptions): Promise<ArchivedFile[]> {
  const files: ArchivedFile[] = [];
  await removeArchived(db, options.chain);
  // Once, since archiving writes audit rows itself.
  const [time] = await db.query<{ before: string }>(
    "SELECT (clock_timestamp() - $1::float8 * interval '1 millisecond')::text AS before",
    [options.olderThanMs],
  );
  for (;;) {
    const range = await nextSegment(db, options, time!.before);
    if (range === null) return files;
    files.push({ ...range, file: await archiveSegment(db, options, range) });
    await removeArchived(db, options.chain);
  }
}

/** The next rows that are all old enough; the chain is cut before the first one that is not. */
async function nextSegment(db: Queryable, options: ArchiveOptions, before: string): Promise<PositionRange | null> {
  const { chain, segmentRows = SEGMENT_ROWS } = options;
  const [row] = await db.query<{ first: number; last: number | null }>(
    `WITH start AS (SELECT coalesce(max(last_position), 0) + 1 AS first FROM audit_archives WHERE chain = $1),
     segment AS (
       SELECT s.position, a.at < $2::timestamptz AS old
       FROM start, audit_seals s LEFT JOIN audit a ON a.seq = s.seq
       WHERE s.chain = $1 AND s.position >= start.first AND s.position < start.first + $3::bigint)
     SELECT first::float8 AS first,
       coalesce((SELECT min(position) - 1 FROM segment WHERE old IS NOT TRUE), (SELECT max(position) FROM segment))::float8 AS last
     FROM start`,
    [chain, before, segmentRows],
  );
  const { first, last } = row!;
  return last === null || last < first ? null : { first, last };
}

async function archiveSegment(db: Database, options: ArchiveOptions, range: PositionRange): Promise<string> {
  const { chain, folder, actor } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const name = `audit-${chain === '-' ? 'service' : chain}-${range.first}-${range.last}.ndjson.gz`;
  const target = path.join(folder, name);
  const draft = `${target}.${randomBytes(4).toString('hex')}.part`;
  try {
    const sha256 = await write(db, chain, range, draft);
    const lastHash = await check(chain, range, draft);
    await rename(draft, target);
    await flush(folder);
    const prevHash = range.first === 1 ? GENESIS : (await hashBefore(db, chain, range.first))!;
    await db.transaction(async (tx) => {
      await tx.query(
        `INSERT INTO audit_archives (chain, first_position, last_position, prev_hash, last_hash, file, file_sha256)
         VALUES ($1, $2, $3, $4, $5, $6, $7)`,
        [chain, range.first, range.last, prevHash, lastHash, name, sha256],
      );
      const detail = { ...range, file: name, sha256: sha256.toString('hex'), last_hash: lastHash.toString('hex') };
      await tx.query("INSERT INTO audit (tenant_id, type, actor, detail) VALUES ($1, 'audit.archived', $2, $3)", [
        chain === '-' ? null : chain,
        actor,
        JSON.stringify(detail),
      ]);
    });
    return name;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Writes the file (0600) and flushes it to disk. Returns its SHA-256. */
async function write(db: Database, chain: string, positions: PositionRange, file: string): Promise<Buffer> {
  const snapshot = await openSnapshot(db, { idleMs: 120_000, statementMs: 0 });
  const digest = createHash('sha256');
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      digest.update(chunk);
      done(null, chunk);
    },
  });
  try {
    const lines = exportAudit(snapshot, { chain, positions, writer: ndjson });
    const out = createWriteStream(file, { flags: 'wx', mode: 0o600, flush: true });
    await pipeline(Readable.from(lines, { highWaterMark: 1 }), createGzip(), hashing, out);
  } finally {
    await snapshot.close();
  }
  return digest.digest();
}

/** Reads the file again: only what is found whole there may go from the ledger. */
async function check(chain: string, range: PositionRange, file: string): Promise<Buffer> {
  const findings: Finding[] = [];
  const { first, last } = await checkAuditFile(file, [], (finding) => void findings.push(finding));
  const [fault] = findings;
  if (fault) throw new BrokenSegment(chain, fault);
  if (first?.position !== range.first || last?.position !== range.last)
    throw new BrokenSegment(chain, { code: 'chain.rows_missing', message: 'rows are missing', chain });
  return Buffer.from(last.hash, 'hex');
}

async function flush(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeArchived(db: Database, chain: string): Promise<void> {
  for (;;) {
    const [row] = await db.query<{ n: number }>('SELECT audit_remove_archived($1, $2) AS n', [chain, REMOVE_AT_ONCE]);
    if (row!.n < REMOVE_AT_ONCE) return;
  }
}
