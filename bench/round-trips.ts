import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { EmbeddedPostgres } from '../ledger/embedded-postgres';

const LOG_FILE = 'statements.log';
/** Nothing was asked for this long: what belongs to the work before is over. */
const QUIET_MS = 400;

/** Settings of a Postgres whose round trips are to be counted. */
export const ROUND_TRIP_SETTINGS = {
  logging_collector: 'on',
  log_directory: 'log',
  log_filename: LOG_FILE,
  log_line_prefix: '%a ',
  log_min_messages: 'log',
} as const;

/**
 * How often the service asks its database while `work` runs, and until it is quiet again, for each of `times` runs: of Postgres'
 * own log, in which each statement, BEGIN and COMMIT among them, is one round trip. The counts differ by what the service does
 * beside the work.
 */
export async function countRoundTrips(
  postgres: EmbeddedPostgres,
  times: number,
  work: () => Promise<unknown>,
): Promise<number[]> {
  const client = new pg.Client(postgres.connection);
  await client.connect();
  const log = async (what: 'all' | 'none'): Promise<void> => {
    await client.query(`ALTER SYSTEM SET log_statement = '${what}'`);
    await client.query('SELECT pg_reload_conf()');
    await sleep(QUIET_MS);
  };
  const total = async (): Promise<number> => {
    const { rows } = await client.query<{ total: number }>(
      `SELECT count(*)::int AS total FROM regexp_split_to_table(pg_read_file('log/${LOG_FILE}'), '\\n') line
       WHERE line ~ '^workloadd LOG:  (statement|execute [^:]*):'`,
    );
    return rows[0]!.total;
  };
  const whenQuiet = async (): Promise<number> => {
    for (let before = await total(); ;) {
      await sleep(QUIET_MS);
      const now = await total();
      if (now === before) return now;
      before = now;
    }
  };
  try {
    await log('all');
    const counts: number[] = [];
    for (let index = 0; index < times; index += 1) {
      const before = await whenQuiet();
      await work();
      counts.push((await whenQuiet()) - before);
    }
    return counts;
  } finally {
    await log('none').finally(() => client.end());
  }
}
