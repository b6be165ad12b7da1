import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { grantReader } from '../../ledger/audit-reader';
import { Database } from '../../ledger/database';
import { migrate } from '../../ledger/migrate';
import { testEnvironment } from '../support/environment';

/** Roles belong to the server, so each has a name of its own. */
const name = (what: string): string => `test_${what}_${randomBytes(5).toString('hex')}`;
const [schema, owner, reader, password] = [
  name('schema'),
  name('owner'),
  name('reader'),
  randomBytes(9).toString('hex'),
];
const admin = new pg.Client(testEnvironment.databaseUrl);
let db: Database;

function urlOf(user: string): string {
  const url = new URL(testEnvironment.databaseUrl);
  Object.assign(url, { username: user, password });
  url.searchParams.set('options', `-c search_path=${schema}`);
  return url.href;
}

beforeAll(async () => {
  await admin.connect();
  await admin.query(`CREATE ROLE ${owner} LOGIN NOSUPERUSER PASSWORD '${password}'`);
  await admin.query(`CREATE SCHEMA ${schema} AUTHORIZATION ${owner}`);
  db = new Database({ connection: { connectionString: urlOf(owner) }, maxConnections: 2 });
  await migrate(db);
});
afterAll(async () => {
  await db.close();
  await admin.query(`DROP SCHEMA ${schema} CASCADE`);
  for (const role of [reader, owner]) {
    const { rowCount } = await admin.query('SELECT 1 FROM pg_roles WHERE rolname = $1', [role]);
    if (rowCount) await admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
  }
  await admin.end();
});

test('an owner that may not make roles says so, and lets in a role that is there', async () => {
  await expect(grantReader(db, reader, 'test')).rejects.toThrow(`have CREATE ROLE ${reader} LOGIN run by one who may`);
  await admin.query(`CREATE ROLE ${reader} LOGIN PASSWORD '${password}'`);
  const granted = await grantReader(db, reader, 'test');
  expect(granted).toMatchObject({ made: false, schema });
  await expect(grantReader(db, reader, 'test')).resolves.toEqual(granted);
});

test('the reader selects every view, and no table, function or write', async () => {
  const client = new pg.Client(urlOf(reader));
  client.on('error', () => undefined);
  await client.connect();
  const refusal = (sql: string): Promise<string> =>
    client.query(sql).then(
      () => 'allowed',
      (error: unknown) => (error as pg.DatabaseError).code ?? 'unknown',
    );
  const { rows } = await admin.query<{ relname: string; relkind: string }>(
    `SELECT relname, relkind FROM pg_class WHERE relnamespace = '${schema}'::regnamespace AND relkind IN ('r', 'v')`,
  );
  const results = await Promise.all(
    rows.map(async (row) => [row.relkind, await refusal(`SELECT * FROM ${row.relname}`)]),
  );
  expect(results.filter(([kind]) => kind === 'v').length).toBeGreaterThan(7);
  expect(results.filter(([kind, result]) => result !== (kind === 'v' ? 'allowed' : '42501'))).toEqual([]);

  const writes = rows
    .filter((row) => row.relkind === 'v')
    .flatMap(({ relname }) => [`DELETE FROM ${relname}`, `INSERT INTO ${relname} DEFAULT VALUES`]);
  // A view over more than one table refuses writes for being one.
  for (const sql of writes) expect(['42501', '55000']).toContain(await refusal(sql));
  expect(await refusal("UPDATE audit_trail SET actor = 'me'")).toBe('42501');
  expect(await refusal('CREATE TABLE mine ()')).toBe('42501');
  expect(
    await refusal("SELECT authorize_capability('x', 'x', 'default', 'me', 'h', 'context', 'o', 'r', null, 'x', 1, 1)"),
  ).toBe('42501');
  expect(await refusal("SELECT nextval('audit_seq_seq')")).toBe('42501');
  await client.end();
});

test('no view shows a hash of a token or a body', async () => {
  const { rows } = await admin.query<{ column_name: string }>(
    `SELECT DISTINCT column_name FROM information_schema.columns
     WHERE table_schema = $1 AND table_name IN (SELECT table_name FROM information_schema.views WHERE table_schema = $1)`,
    [schema],
  );
  const columns = rows.map((row) => row.column_name);
  expect(columns).toContain('tenant_id');
  expect(columns.filter((column) => /token|secret|key_hash|^body$|^record$/.test(column))).toEqual([]);
});

test('a role that may do more gets nothing', async () => {
  const other = name('more');
  await admin.query(`CREATE ROLE ${other} LOGIN`);
  try {
    await admin.query(`GRANT USAGE ON SCHEMA ${schema} TO ${other}; GRANT SELECT ON ${schema}.tokens TO ${other}`);
    await expect(grantReader(db, other, 'test')).rejects.toThrow(
      `role ${other} has SELECT on tokens: nothing was granted`,
    );
    const { rows } = await admin.query(
      `SELECT has_table_privilege('${other}', '${schema}.audit_trail', 'SELECT') AS may`,
    );
    expect(rows).toEqual([{ may: false }]);
    await admin.query(`REVOKE ALL ON ${schema}.tokens FROM ${other}; GRANT ${owner} TO ${other}`);
    await expect(grantReader(db, other, 'test')).rejects.toThrow('belongs to the owner of the ledger');
    await expect(grantReader(db, owner, 'test')).rejects.toThrow('is the owner of the ledger');
  } finally {
    await admin.query(`DROP OWNED BY ${other}; DROP ROLE ${other}`);
  }
});

test('an owner that may make roles makes it, without a password and for reading', async () => {
  const made = name('made');
  const privileged = new Database({
    connection: { connectionString: `${testEnvironment.databaseUrl}&options=-c%20search_path%3D${schema}` },
  });
  try {
    await expect(grantReader(privileged, made, 'test')).resolves.toMatchObject({ made: true });
    const { rows } = await admin.query(
      `SELECT rolsuper, rolcanlogin, rolconfig FROM pg_roles WHERE rolname = '${made}'`,
    );
    expect(rows).toEqual([
      { rolsuper: false, rolcanlogin: true, rolconfig: ['default_transaction_read_only=on', 'statement_timeout=5min'] },
    ]);
  } finally {
    await privileged.close();
    await admin.query(`DROP OWNED BY ${made}; DROP ROLE ${made}`);
  }
});
