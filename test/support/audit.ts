import pg from 'pg';
import type { Anchor } from '../../domain/audit-chain';
import type { Finding } from '../../domain/finding';
import { beginSealPass, chainsOf, headsOf, sealBatch } from '../../ledger/audit-seal';
import type { Database, Queryable } from '../../ledger/database';
import { openSnapshot } from '../../ledger/snapshot';
import { verifyChain, verifySealing } from '../../ledger/verify/chains';
import { verifyStories } from '../../ledger/verify/stories';
import { eventually } from './eventually';
import type { FreshSchema } from './fresh-schema';

/** Seals everything that is committed. A sealer that was killed keeps its lock until the server has noticed. */
export async function sealAll(db: Database, batch = 1_000): Promise<void> {
  const pass = await beginSealPass(db);
  for (let more = true; more;) {
    const { outcome } = await eventually(async () => {
      const done = await sealBatch(db, pass, batch);
      return done.outcome !== 'busy' && done;
    });
    more = outcome === 'more';
  }
}

/** What `verify` finds in the ledger, Temporal left out. */
export async function findingsOf(db: Database, anchors: Anchor[] = []): Promise<Finding[]> {
  const snapshot = await openSnapshot(db, { idleMs: 60_000, statementMs: 0 });
  try {
    return await findingsIn(snapshot, anchors);
  } finally {
    await snapshot.close();
  }
}

async function findingsIn(db: Queryable, anchors: Anchor[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  const report = (finding: Finding): void => void findings.push(finding);
  for (const chain of await chainsOf(db)) await verifyChain(db, chain, anchors, report, () => undefined);
  await verifySealing(db, report);
  await verifyStories(db, report, () => undefined);
  return findings;
}

/** The heads of the chains, as somebody would note them outside. */
export async function anchorsOf(db: Database): Promise<Anchor[]> {
  const heads = await headsOf(db, await chainsOf(db));
  return heads.map(({ chain, position, hash }) => ({ chain, position, hash: hash.toString('hex') }));
}

/** Changes the ledger as somebody with all rights can: with its triggers off. */
export async function tamper(schema: FreshSchema, ...statements: string[]): Promise<void> {
  const client = new pg.Client(schema.connection.connectionString);
  await client.connect();
  try {
    await client.query('SET session_replication_role = replica');
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}

/** What `verify` finds after such a change, which is taken back then. */
export async function findingsAfter(
  schema: FreshSchema,
  statements: string[],
  anchors: Anchor[] = [],
): Promise<Finding[]> {
  const client = new pg.Client(schema.connection.connectionString);
  await client.connect();
  try {
    await client.query('BEGIN');
    await client.query('SET LOCAL session_replication_role = replica');
    for (const statement of statements) await client.query(statement);
    const query = async <Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> =>
      (await client.query<Row>(text, values as unknown[])).rows;
    return await findingsIn({ query }, anchors);
  } finally {
    await client.end();
  }
}
