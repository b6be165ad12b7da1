import { canonicalRow, GENESIS, sealHash, type ChainedRow } from '../domain/audit-chain';
import { debugPoint } from '../domain/debug-point';
import { CHAINED_COLUMNS, MAY_BE_UNSEALED } from './audit-rows';
import type { Database, Queryable } from './database';

/** Any constant: the advisory lock, with the schema's name, under which one process at a time seals. */
const LOCK = 7_706_682;

/**
 * One look through all rows that are not sealed yet, in batches. Rows of transactions that end while it is under way may be
 * missed: the next pass has them, since `settledBefore` is what was settled when this one began.
 */
export interface SealPass {
  /** Of the transactions below this one, no row can come any more. */
  settledBefore: string;
  cluster: string;
  /** The last row that was looked at. */
  after: { xact: string; seq: string };
  sealed: number;
}

/** Begins a pass. */
export async function beginSealPass(db: Queryable): Promise<SealPass> {
  const [row] = await db.query<{ settled_before: string; cluster: string }>(
    `SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS settled_before, system_identifier::text AS cluster
     FROM pg_control_system()`,
  );
  return { settledBefore: row!.settled_before, cluster: row!.cluster, after: { xact: '0', seq: '0' }, sealed: 0 };
}

/** What became of a batch. `busy`: another process is sealing. `more`: there may be rows left in this pass. */
export interface SealedBatch {
  sealed: number;
  outcome: 'busy' | 'more' | 'done';
}

type Unsealed = ChainedRow & { xact: string };

/** Rows that one statement looks at: after a restore all of them have to be, and most are sealed. */
const LOOK = 50_000;

const PASSED = `${MAY_BE_UNSEALED} AND (a.xact, a.seq) > ($1::xid8, $2::bigint)`;

/** The row at which a look ends; none when fewer are left. */
const END_OF_LOOK = `
SELECT a.xact::text AS xact, a.seq::text AS seq FROM audit a WHERE ${PASSED}
ORDER BY a.xact, a.seq OFFSET $3 - 1 LIMIT 1`;

const UNSEALED = `
SELECT a.xact::text AS xact, ${CHAINED_COLUMNS} FROM audit a
WHERE ${PASSED} AND ($4::xid8 IS NULL OR (a.xact, a.seq) <= ($4::xid8, $5::bigint))
  AND NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.seq = a.seq)
ORDER BY a.xact, a.seq LIMIT $3`;

/**
 * Seals at most `limit` rows, each chain from its head on, in one transaction under an advisory lock. Only committed rows are
 * seen, so whoever sees a seal sees its row. Looks at no more than `look` rows, sealed or not. Moves `pass` on.
 */
export async function sealBatch(db: Database, pass: SealPass, limit: number, look = LOOK): Promise<SealedBatch> {
  const batch = await db.transaction(async (tx) => {
    const [lock] = await tx.query<{ free: boolean }>(
      'SELECT pg_try_advisory_xact_lock($1, hashtext(current_schema())) AS free',
      [LOCK],
    );
    if (!lock!.free) return null;
    const { xact, seq } = pass.after;
    const [end] = await tx.query<SealPass['after']>(END_OF_LOOK, [xact, seq, look]);
    const rows = await tx.query<Unsealed>(UNSEALED, [xact, seq, limit, end?.xact ?? null, end?.seq ?? null]);
    if (rows.length > 0) await append(tx, rows);
    const isLast = rows.length < limit && end === undefined;
    // Only after work, or on another server: the update is a transaction itself, and would give the next pass one more to note.
    if (isLast) {
      await tx.query('UPDATE audit_sealer SET settled = $1, cluster = $2 WHERE $3 OR cluster IS DISTINCT FROM $2', [
        pass.settledBefore,
        pass.cluster,
        rows.length + pass.sealed > 0,
      ]);
    }
    debugPoint('seal-uncommitted');
    const last = rows.length < limit ? (end ?? rows.at(-1)) : rows.at(-1);
    return { sealed: rows.length, last, isLast };
  });
  if (batch === null) return { sealed: 0, outcome: 'busy' };
  debugPoint('seal-committed');
  if (batch.last) pass.after = { xact: batch.last.xact, seq: batch.last.seq };
  pass.sealed += batch.sealed;
  return { sealed: batch.sealed, outcome: batch.isLast ? 'done' : 'more' };
}

async function append(tx: Queryable, rows: readonly Unsealed[]): Promise<void> {
  const heads = new Map(
    (await headsOf(tx, [...new Set(rows.map((row) => row.chain))])).map((head) => [head.chain, head]),
  );
  const seals = rows.map((row) => {
    const head = heads.get(row.chain)!;
    head.position += 1;
    head.hash = sealHash(head.hash, canonicalRow(row));
    return { ...head, seq: row.seq };
  });
  await tx.query(
    `INSERT INTO audit_seals (chain, position, seq, hash)
     SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bytea[])`,
    [
      seals.map((seal) => seal.chain),
      seals.map((seal) => seal.position),
      seals.map((seal) => seal.seq),
      seals.map((seal) => seal.hash),
    ],
  );
}

/** The end of a chain. Position 0 with the genesis hash when nothing is sealed. */
export interface ChainHead {
  chain: string;
  position: number;
  hash: Buffer;
}

const HEADS = `
SELECT asked.chain, coalesce(s.position, r.last_position, 0)::float8 AS position, coalesce(s.hash, r.last_hash) AS hash
FROM unnest($1::text[]) AS asked(chain)
LEFT JOIN LATERAL (
  SELECT position, hash FROM audit_seals WHERE chain = asked.chain ORDER BY position DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (
  SELECT last_position, last_hash FROM audit_archives WHERE chain = asked.chain ORDER BY first_position DESC LIMIT 1) r ON true`;

/** The ends of these chains. */
export async function headsOf(db: Queryable, chains: readonly string[]): Promise<ChainHead[]> {
  const rows = await db.query<{ chain: string; position: number; hash: Buffer | null }>(HEADS, [chains]);
  return rows.map(({ chain, position, hash }) => ({ chain, position, hash: hash ?? GENESIS }));
}

/** Every chain there is, by name. */
export async function chainsOf(db: Queryable): Promise<string[]> {
  const rows = await db.query<{ chain: string }>(
    `SELECT chain FROM (SELECT tenant_id AS chain FROM tenants UNION SELECT '-') known ORDER BY chain COLLATE "C"`,
  );
  return rows.map((row) => row.chain);
}

/** Rows that are in no chain yet. */
export interface UnsealedBacklog {
  /** Counted up to 10,000. */
  count: number;
  /** Age of the oldest; 0 without one. */
  oldest_seconds: number;
}

/** The rows that wait for the sealer. */
export async function unsealedBacklog(db: Queryable): Promise<UnsealedBacklog> {
  const [row] = await db.query<UnsealedBacklog>(
    `SELECT count(*)::int AS count, coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0)::float8 AS oldest_seconds
     FROM (SELECT at FROM audit a
           WHERE ${MAY_BE_UNSEALED} AND NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.seq = a.seq)
           LIMIT 10000) unsealed`,
  );
  return row!;
}
