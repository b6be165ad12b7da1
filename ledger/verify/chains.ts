import { canonicalRow, GENESIS, type Anchor } from '../../domain/audit-chain';
import { ChainWalk } from '../../domain/chain-walk';
import type { Report } from '../../domain/finding';
import { sealsAfter } from '../audit-stream';
import type { Queryable } from '../database';

/** A segment of a chain that is in a file. */
export interface ArchivedSegment {
  chain: string;
  first: number;
  last: number;
  prevHash: Buffer;
  lastHash: Buffer;
  file: string;
  sha256: Buffer;
}

/** The segments of a chain that are in files, in order. */
export async function archivedSegments(db: Queryable, chain: string): Promise<ArchivedSegment[]> {
  const rows = await db.query<Omit<ArchivedSegment, 'first' | 'last'> & { first: number; last: number }>(
    `SELECT chain, first_position::float8 AS first, last_position::float8 AS last, prev_hash AS "prevHash",
       last_hash AS "lastHash", file, file_sha256 AS sha256
     FROM audit_archives WHERE chain = $1 ORDER BY first_position`,
    [chain],
  );
  return rows;
}

const BATCH = 4_000;

/**
 * Checks one chain from the end of its archive, if it has one, to its head. Memory stays flat: rows are read ahead by one batch.
 * Returns the number of rows.
 */
export async function verifyChain(
  db: Queryable,
  chain: string,
  anchors: readonly Anchor[],
  report: Report,
  progress: (rows: number) => void,
): Promise<number> {
  const segments = await archivedSegments(db, chain);
  const boundary = checkSegments(segments, report);
  const own = anchors.filter((anchor) => anchor.chain === chain);
  const walk = new ChainWalk(chain, boundary, own, report);
  let rows = 0;
  let next = sealsAfter(db, chain, boundary.position, BATCH);
  for (;;) {
    const seals = await next;
    const last = seals.at(-1);
    if (!last) break;
    next = sealsAfter(db, chain, Number(last.position), BATCH);
    next.catch(() => undefined);
    for (const seal of seals) {
      walk.next({
        position: Number(seal.position),
        hash: seal.hash,
        canonical: seal.row_chain === null ? null : canonicalRow(seal),
        seq: seal.sealed_seq,
      });
    }
    rows += seals.length;
    progress(seals.length);
  }
  for (const { position } of walk.finish()) {
    if (position > walk.last)
      report({
        code: 'anchor.beyond_end',
        message: `the chain ends at position ${walk.last}, and position ${position} was noted outside: its end was cut off`,
        chain,
        position,
      });
    else
      report({
        code: 'anchor.not_covered',
        message: `position ${position} is in an archive file: give --archives`,
        chain,
        position,
      });
  }
  await checkLeftovers(db, chain, boundary.position, report);
  return rows;
}

/** The recorded segments must join; the chain in the ledger goes on from the last. */
function checkSegments(segments: readonly ArchivedSegment[], report: Report): { position: number; hash: Buffer } {
  let end: { position: number; hash: Buffer } = { position: 0, hash: GENESIS };
  for (const { chain, first, last, prevHash, lastHash } of segments) {
    if (first !== end.position + 1 || !prevHash.equals(end.hash))
      report({
        code: 'archive.gap',
        message: `the archive from position ${first} does not join the one before it`,
        chain,
        position: first,
      });
    end = { position: last, hash: lastHash };
  }
  return end;
}

async function checkLeftovers(db: Queryable, chain: string, boundary: number, report: Report): Promise<void> {
  const [left] = await db.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM audit_seals WHERE chain = $1 AND position <= $2',
    [chain, boundary],
  );
  if (left!.n > 0)
    report({
      code: 'archive.not_removed',
      message: `${left!.n} rows are in an archive file and not removed yet: run \`audit archive\` again`,
      chain,
    });
}

/** Rows without a seal: those of the last minute are waiting for one. Returns how many these are. */
export async function verifySealing(db: Queryable, report: Report): Promise<number> {
  const [row] = await db.query<{ young: number; old: number; first: string | null; seqs: string[] | null }>(
    `SELECT (count(*) FILTER (WHERE young))::int AS young, (count(*) FILTER (WHERE NOT young))::int AS old,
       (min(seq) FILTER (WHERE NOT young))::text AS first
     FROM (SELECT seq, at > clock_timestamp() - interval '1 minute' AS young FROM audit a
           WHERE NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.seq = a.seq)) unsealed`,
  );
  const { young, old, first } = row!;
  if (old > 0)
    report({
      code: 'chain.unsealed',
      message: `${old} rows older than a minute are in no chain, the first is seq ${first}: no control process runs, a seal was removed, or they were put in past the sealer`,
      seq: first!,
    });
  return young;
}
