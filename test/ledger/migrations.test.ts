import { Database } from '../../ledger/database';
import { migrate, pendingMigrations } from '../../ledger/migrate';
import { eventually } from '../support/eventually';
import { FreshLedger, isBlocking, refusal } from '../support/fresh-ledger';
import { freshSchema, type FreshSchema } from '../support/fresh-schema';

let schema: FreshSchema;
let databases: Database[];
beforeEach(async () => {
  schema = await freshSchema();
  databases = [];
});
afterEach(async () => {
  await Promise.all(databases.map((db) => db.close()));
  await schema.drop();
});

function database(): Database {
  const db = new Database({ connection: schema.connection });
  databases.push(db);
  return db;
}

const LOCKED = 'SELECT pg_advisory_xact_lock(7706681, hashtext(current_schema()))';

test('of many that migrate an empty schema at once, one does it and all are content', async () => {
  const db = database();
  const pending = await pendingMigrations(db);
  expect(pending.length).toBeGreaterThan(0);
  const applied = await Promise.all([db, database(), database(), database()].map(migrate));
  expect(applied.filter((names) => names.length > 0)).toEqual([pending]);
  expect(await pendingMigrations(db)).toEqual([]);
  expect(await migrate(db)).toEqual([]);
});

test('a file that was applied and has changed since is refused, and nothing is applied after it', async () => {
  const db = database();
  const [first] = await migrate(db);
  await db.query("UPDATE migrations SET checksum = 'another' WHERE name = $1", [first]);
  await expect(migrate(db)).rejects.toThrow(`migration ${first} was applied with another content`);
});

test('a migration that fails leaves nothing behind and can be run again', async () => {
  const db = database();
  await db.query('CREATE TABLE audit (in_the_way integer)');
  await expect(migrate(db)).rejects.toThrow();
  expect(await db.query('SELECT tablename FROM pg_tables WHERE schemaname = current_schema()')).toEqual([
    { tablename: 'audit' },
  ]);
  await db.query('DROP TABLE audit');
  expect((await migrate(db)).length).toBeGreaterThan(0);
});

test('a connection that dies under a migration ends it with a problem, not the process', async () => {
  const db = database();
  const failed = await db.transaction(async (tx) => {
    await tx.query(LOCKED);
    const migrating = refusal(migrate(database()));
    migrating.catch(() => undefined);
    await eventually(() => isBlocking(tx), { interval: 5 });
    await tx.query(
      `SELECT pg_terminate_backend(pid) FROM pg_locks
       WHERE NOT granted AND locktype = 'advisory' AND pg_backend_pid() = ANY(pg_blocking_pids(pid))`,
    );
    return migrating;
  });
  expect(failed).toBe('ledger.unavailable');
  expect((await migrate(db)).length).toBeGreaterThan(0);
});

test('the audit can only grow', async () => {
  const ledger = await FreshLedger.open();
  try {
    const workId = await ledger.admitted();
    const before = await ledger.audit(workId);
    for (const statement of [
      "UPDATE audit SET actor = 'somebody'",
      'DELETE FROM audit',
      'TRUNCATE audit',
      `INSERT INTO audit (seq, type, actor) OVERRIDING SYSTEM VALUE
       SELECT seq, 'forged', 'somebody' FROM audit ON CONFLICT (seq) DO UPDATE SET actor = excluded.actor`,
    ]) {
      await expect(ledger.db.query(statement)).rejects.toThrow('ledger error P0001');
    }
    expect(await ledger.audit(workId)).toEqual(before);
  } finally {
    await ledger.close();
  }
});
