import { randomBytes } from 'node:crypto';
import pg from 'pg';
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

/** Creates an empty schema. */
export async function freshSchema(): Promise<FreshSchema> {
  const name = `test_${randomBytes(8).toString('hex')}`;
  await asAdmin((client) => client.query(`CREATE SCHEMA ${name}`));
  const url = new URL(testEnvironment.databaseUrl);
  url.searchParams.set('options', `-c search_path=${name}`);
  return {
    name,
    connection: { connectionString: url.href },
    url: url.href,
    drop: () => asAdmin((client) => client.query(`DROP SCHEMA IF EXISTS ${name} CASCADE`)),
  };
}

async function asAdmin(work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client(testEnvironment.databaseUrl);
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
