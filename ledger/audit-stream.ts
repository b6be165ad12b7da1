import type { Queryable } from './database';
import { CHAINED_COLUMNS, MAY_BE_UNSEALED, type SealedRow } from './audit-rows';

/** Positions of a chain, both inclusive. */
export interface PositionRange {
  first: number;
  last: number;
}

/** The hash before a position of a chain; null when the ledger does not have it. */
export async function hashBefore(db: Queryable, chain: string, position: number): Promise<Buffer | null> {
  const [row] = await db.query<{ hash: Buffer | null }>(
    `SELECT coalesce(
       (SELECT hash FROM audit_seals WHERE chain = $1 AND position = $2::bigint - 1),
       (SELECT last_hash FROM audit_archives WHERE chain = $1 AND last_position = $2::bigint - 1)) AS hash`,
    [chain, position],
  );
  return row!.hash;
}

/**
 * The stretch of a chain that holds all its sealed rows of a time. Sealing does not follow time to the second, so at its ends
 * there may be rows from outside. Null when there are none.
 */
export async function positionsOfTime(
  db: Queryable,
  chain: string,
  time: { since?: string | undefined; until?: string | undefined },
): Promise<PositionRange | null> {
  const whole = time.since === undefined && time.until === undefined;
  const [row] = await db.query<{ first: number | null; last: number | null }>(
    whole
      ? `SELECT min(position)::float8 AS first, max(position)::float8 AS last FROM audit_seals WHERE chain = $1`
      : `SELECT min(s.position)::float8 AS first, max(s.position)::float8 AS last
         FROM audit a JOIN audit_seals s ON s.seq = a.seq
         WHERE ${ofChain(chain)} AND ($2::timestamptz IS NULL OR a.at >= $2) AND ($3::timestamptz IS NULL OR a.at < $3)`,
    whole ? [chain] : [chain, time.since ?? null, time.until ?? null],
  );
  return row?.first == null || row.last === null ? null : { first: row.first, last: row.last };
}

const ofChain = (chain: string): string => (chain === '-' ? "($1 = '-' AND a.tenant_id IS NULL)" : 'a.tenant_id = $1');

/** A seal with its row; without one when the row is gone. */
export type SealWithRow = SealedRow & { position: string; hash: Buffer; sealed_seq: string; row_chain: string | null };

/** Seals of a chain after a position, in order, each with its row. */
export function sealsAfter(db: Queryable, chain: string, position: number, limit: number): Promise<SealWithRow[]> {
  return db.query<SealWithRow>(
    `SELECT s.position::text AS position, s.hash, s.seq::text AS sealed_seq, ${CHAINED_COLUMNS},
       CASE WHEN a.seq IS NOT NULL THEN coalesce(a.tenant_id, '-') END AS row_chain
     FROM (SELECT * FROM audit_seals WHERE chain = $1 AND position > $2 ORDER BY position LIMIT $3) s
     LEFT JOIN audit a ON a.seq = s.seq ORDER BY s.position`,
    [chain, position, limit],
  );
}

/** Rows of a chain that are not sealed, after a seq, in order. */
export function unsealedAfter(
  db: Queryable,
  chain: string,
  time: { since?: string | undefined; until?: string | undefined },
  seq: string,
  limit: number,
): Promise<SealedRow[]> {
  return db.query<SealedRow>(
    `SELECT NULL AS position, NULL AS hash, ${CHAINED_COLUMNS} FROM audit a
     WHERE ${ofChain(chain)} AND ${MAY_BE_UNSEALED} AND a.seq > $2
       AND ($3::timestamptz IS NULL OR a.at >= $3) AND ($4::timestamptz IS NULL OR a.at < $4)
       AND NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.seq = a.seq)
     ORDER BY a.seq LIMIT $5`,
    [chain, seq, time.since ?? null, time.until ?? null, limit],
  );
}
