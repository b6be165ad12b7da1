import { GENESIS } from '../domain/audit-chain';
import { AUDIT_FILE_FORMAT, type AuditFileTrailer, type AuditFileWriter } from '../domain/audit-file';
import { hashBefore, positionsOfTime, sealsAfter, unsealedAfter, type PositionRange } from './audit-stream';
import type { Queryable } from './database';

/** What of which chain to write down. */
export interface AuditExport {
  chain: string;
  since?: string | undefined;
  until?: string | undefined;
  /** A stretch by its positions instead of by time, without what is not sealed. */
  positions?: PositionRange;
  writer: AuditFileWriter;
  /** Asked between batches: a reason to end early, which the last line then tells. */
  stopReason?: () => string | null;
}

const BATCH = 500;

/**
 * Writes a chain's stretch piece by piece, each only when the one before was taken: memory stays flat whatever its length. `db`
 * should be one moment's view. The last piece says how many rows there were, or why it ended early.
 */
export async function* exportAudit(db: Queryable, asked: AuditExport): AsyncGenerator<string, void, void> {
  const { chain, writer, stopReason = () => null } = asked;
  const range = asked.positions ?? (await positionsOfTime(db, chain, asked));
  const prev = range === null ? null : range.first === 1 ? GENESIS : await hashBefore(db, chain, range.first);
  yield writer.header({
    format: AUDIT_FILE_FORMAT,
    chain,
    since: asked.since ?? null,
    until: asked.until ?? null,
    first_position: range?.first ?? null,
    prev_hash: prev?.toString('hex') ?? null,
  });

  const end: AuditFileTrailer = { complete: true, rows: 0, unsealed: 0, last_position: null, last_hash: null };
  for await (const piece of pieces(db, asked, range, end)) {
    yield piece;
    const reason = stopReason();
    if (reason !== null) {
      yield writer.trailer({ ...end, complete: false, reason });
      return;
    }
  }
  yield writer.trailer(end);
}

async function* pieces(
  db: Queryable,
  { chain, since, until, positions, writer }: AuditExport,
  range: PositionRange | null,
  end: AuditFileTrailer,
): AsyncGenerator<string, void, void> {
  for (let after = range === null ? Infinity : range.first - 1; range !== null && after < range.last;) {
    const seals = await sealsAfter(db, chain, after, Math.min(BATCH, range.last - after));
    const last = seals.at(-1);
    if (!last) return;
    after = Number(last.position);
    end.rows += seals.length;
    end.last_position = after;
    end.last_hash = last.hash.toString('hex');
    yield seals
      .map((seal) => {
        const row = seal.row_chain === null ? null : seal;
        return writer.row({ position: seal.position, hash: seal.hash.toString('hex'), row });
      })
      .join('');
  }
  for (let seq = '0'; positions === undefined;) {
    const rows = await unsealedAfter(db, chain, { since, until }, seq, BATCH);
    const last = rows.at(-1);
    if (!last) return;
    seq = last.seq;
    end.rows += rows.length;
    end.unsealed += rows.length;
    yield rows.map((row) => writer.row({ position: null, hash: null, row })).join('');
  }
}
