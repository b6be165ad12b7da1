import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { Database } from '../../ledger/database';
import { migrate } from '../../ledger/migrate';
import { testEnvironment } from './environment';

/** A Postgres schema of one test's own. */
export interface FreshSchema {
  name: string;
  /** For `pg`; every connection sees the schema only. */
  connection: { connectionString: string };
  /** The same as a URL, for child processes. */
  url: string;
  /** Deletes the schema with everything in it. */
  drop(): Promise<void>;
}

/** The database that ledgers are copied from, which is several times cheaper than migrating each, and its schema. */
const TEMPLATE = 'ledger_template';
const TEMPLATE_SCHEMA = 'ledger';

/** Makes what {@link freshLedgerSchema} copies; once in a test run. */
export async function makeLedgerTemplate(server: string): Promise<void> {
  await query(server, `CREATE DATABASE ${TEMPLATE}`);
  const template = urlOf(server, { database: TEMPLATE });
  await query(template, `CREATE SCHEMA ${TEMPLATE_SCHEMA}`);
  const connectionString = urlOf(server, { database: TEMPLATE, schema: TEMPLATE_SCHEMA });
  const db = new Database({ connection: { connectionString }, maxConnections: 1 });
  await migrate(db);
  await db.close();
  // Nobody is in it, which copying requires, the autovacuum included.
  await query(server, `ALTER DATABASE ${TEMPLATE} ALLOW_CONNECTIONS false`);
}

/** Creates an empty schema in the database of the test run. */
export async function freshSchema(): Promise<FreshSchema> {
  const name = newName();
  const server = testEnvironment.databaseUrl;
  await query(server, `CREATE SCHEMA ${name}`);
  return handleOf(name, urlOf(server, { schema: name }), `DROP SCHEMA IF EXISTS ${name} CASCADE`);
}

/** Creates a schema with a migrated ledger, in a database of its own. */
export async function freshLedgerSchema(): Promise<FreshSchema> {
  const name = newName();
  const server = testEnvironment.databaseUrl;
  await query(server, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
  await query(urlOf(server, { database: name }), `ALTER SCHEMA ${TEMPLATE_SCHEMA} RENAME TO ${name}`);
  const url = urlOf(server, { database: name, schema: name });
  // A process that was killed may be connected a moment longer.
  return handleOf(name, url, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`);
}

const newName = (): string => `test_${randomBytes(8).toString('hex')}`;

const handleOf = (name: string, url: string, drop: string): FreshSchema => ({
  name,
  connection: { connectionString: url },
  url,
  drop: () => query(testEnvironment.databaseUrl, drop),
});

function urlOf(server: string, { database, schema }: { database?: string; schema?: string }): string {
  const url = new URL(server);
  if (database !== undefined) url.pathname = `/${database}`;
  if (schema !== undefined) url.searchParams.set('options', `-c search_path=${schema}`);
  return url.href;
}

async function query(url: string, text: string): Promise<void> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}
