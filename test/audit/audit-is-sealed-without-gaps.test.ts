import pg from 'pg';
import { pino } from 'pino';
import { AuditSealer } from '../../activities/audit-sealer';
import { beginSealPass, sealBatch } from '../../ledger/audit-seal';
import { MAY_BE_UNSEALED } from '../../ledger/audit-rows';
import { eventually } from '../support/eventually';
import { FreshLedger } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeEach(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
});
afterEach(() => ledger.close());

const silent = pino({ level: 'silent' });
const sealAll = async (): Promise<void> => {
  const pass = await beginSealPass(ledger.db);
  while ((await sealBatch(ledger.db, pass, 7)).outcome === 'more');
};
const count = async (sql: string): Promise<number> =>
  (await ledger.db.query<{ n: number }>(`SELECT count(*)::int AS n FROM ${sql}`))[0]!.n;
const unsealed = (): Promise<number> =>
  count('audit a WHERE NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.seq = a.seq)');
const gaps = (): Promise<number> =>
  count('(SELECT chain FROM audit_seals GROUP BY chain HAVING max(position) <> count(*) OR min(position) <> 1) broken');

/** A transaction that has written an audit row and is not committed. */
async function openWriter(tenant: string | null): Promise<pg.Client> {
  const client = new pg.Client(ledger.schema.connection.connectionString);
  await client.connect();
  await client.query('BEGIN');
  await client.query("INSERT INTO audit (tenant_id, type, actor) VALUES ($1, 'test.late', 'test')", [tenant]);
  return client;
}

test('a row that is committed after later ones were sealed gets its place after them', async () => {
  const late = await openWriter('default');
  await ledger.admitted();
  await sealAll();
  expect(await unsealed()).toBe(0);
  await late.query('COMMIT');
  await late.end();
  await ledger.admitted();
  await sealAll();
  expect(await unsealed()).toBe(0);
  expect(await gaps()).toBe(0);
  const order = await ledger.db.query<{ type: string }>(
    "SELECT a.type FROM audit_seals s JOIN audit a USING (seq) WHERE chain = 'default' ORDER BY position DESC LIMIT 1",
  );
  expect(order[0]!.type).not.toBe('test.late');
});

test('whatever writers do and however many seal, every committed row has one place and no place is empty', async () => {
  const tenants = ['default', await ledger.tenant(), null];
  const sealers = [1, 2, 3].map(() => new AuditSealer({ db: ledger.db, logger: silent, everyMs: 5, batch: 20 }));
  for (const sealer of sealers) sealer.start();
  await Promise.all(
    Array.from({ length: 8 }, async (_, writer) => {
      const client = new pg.Client(ledger.schema.connection.connectionString);
      await client.connect();
      for (let round = 0; round < 25; round += 1) {
        await client.query('BEGIN');
        for (let row = 0; row <= (writer + round) % 4; row += 1)
          await client.query("INSERT INTO audit (tenant_id, type, actor) VALUES ($1, 'test.row', 'test')", [
            tenants[(writer + row) % 3],
          ]);
        await client.query('SELECT pg_sleep($1)', [((writer * 7 + round) % 5) / 200]);
        await client.query(round % 6 === 5 ? 'ROLLBACK' : 'COMMIT');
      }
      await client.end();
    }),
  );
  await eventually(async () => (await unsealed()) === 0);
  await Promise.all(sealers.map((sealer) => sealer.stop()));
  expect(await gaps()).toBe(0);
  expect(await count('audit_seals')).toBe(await count('audit'));
  expect(await count('audit_seals')).toBeGreaterThan(300);
});

test('a ledger restored on a server with other transaction numbers is sealed to the last row', async () => {
  await ledger.admitted();
  await sealAll();
  await ledger.db.query("UPDATE audit_sealer SET settled = '99999999999'");
  await ledger.admitted();
  await sealAll();
  expect(await unsealed()).toBe(0);
  await ledger.db.query(
    "UPDATE audit_sealer SET settled = pg_snapshot_xmax(pg_current_snapshot()), cluster = 'another'",
  );
  await ledger.db.query("INSERT INTO audit (type, actor, xact) VALUES ('test.restored', 'test', '5')");
  await sealAll();
  expect(await unsealed()).toBe(0);
  expect(await gaps()).toBe(0);
});

test('rows that came with a dump are looked at once, not in every pass', async () => {
  const looked = async (): Promise<number> =>
    (
      await ledger.db.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM audit a WHERE a.type = 'test.dumped' AND ${MAY_BE_UNSEALED}`,
      )
    )[0]!.n;
  await sealAll();
  await ledger.db.query("INSERT INTO audit (type, actor, xact) VALUES ('test.dumped', 'test', '99999999999')");
  for (let restores = 0; restores < 2; restores += 1) {
    await ledger.db.query("UPDATE audit_sealer SET settled = '99999999998', cluster = 'another'");
    expect(await looked()).toBe(1);
    await sealAll();
    expect([await unsealed(), await looked()]).toEqual([0, 0]);
  }
  expect(await count('audit_seals')).toBe(await count('audit'));
  expect(await gaps()).toBe(0);
});

test('nothing is written while there is nothing to seal', async () => {
  await sealAll();
  const xid = async () => (await ledger.db.query<{ n: string }>('SELECT xmin::text AS n FROM audit_sealer'))[0]!.n;
  const before = await xid();
  await sealAll();
  expect(await xid()).toBe(before);
});

test('seals can neither be changed nor removed', async () => {
  await ledger.admitted();
  await sealAll();
  for (const statement of [
    'UPDATE audit_seals SET position = position',
    'DELETE FROM audit_seals',
    'TRUNCATE audit_seals',
    'DELETE FROM audit',
    'UPDATE audit_archives SET file = file',
    'TRUNCATE audit_archives',
    `INSERT INTO audit_archives (chain, first_position, last_position, prev_hash, last_hash, file, file_sha256)
     VALUES ('default', 1, 2, decode(repeat('00', 32), 'hex'), decode(repeat('11', 32), 'hex'), 'f', '')`,
  ]) {
    const done = ledger.db.query(statement);
    if (statement.startsWith('UPDATE audit_archives')) await done;
    else await expect(done).rejects.toThrow('ledger error P0001');
  }
});

test('sealed rows are looked at in parts, so that a large restored ledger keeps no statement busy for long', async () => {
  for (let each = 0; each < 6; each += 1) await ledger.admitted();
  await sealAll();
  await ledger.db.query("UPDATE audit_sealer SET settled = '0', cluster = 'another'");
  await ledger.admitted();
  const pass = await beginSealPass(ledger.db);
  const outcomes: string[] = [];
  let sealed = 0;
  for (let more = true; more;) {
    const batch = await sealBatch(ledger.db, pass, 100, 5);
    outcomes.push(batch.outcome);
    sealed += batch.sealed;
    more = batch.outcome === 'more';
  }
  expect(outcomes).toHaveLength(Math.floor((await count('audit')) / 5) + 1);
  expect(sealed).toBeGreaterThan(0);
  expect([await unsealed(), await gaps()]).toEqual([0, 0]);
});
