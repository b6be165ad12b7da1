import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { EmbeddedPostgres } from '../ledger/embedded-postgres';

const LOG_FILE = 'statements.log';
/** What the service asks while it has nothing to do is seen within this time. */
const IDLE_MS = 20_000;
/** Nothing else was asked for this long: what belongs to the work before is over. */
const QUIET_MS = 500;

/** Settings of a Postgres whose round trips are to be counted. */
export const ROUND_TRIP_SETTINGS = {
  logging_collector: 'on',
  log_directory: 'log',
  log_filename: LOG_FILE,
  log_line_prefix: '%a ',
  log_min_messages: 'log',
} as const;

/**
 * How often the service asks its database for each of `times` runs of `work`, until it is quiet again: by Postgres' own log, in which
 * each statement, BEGIN and COMMIT among them, is one round trip. Statements that it also sends while it has nothing to do are not
 * counted.
 */
export async function countRoundTrips(
  postgres: EmbeddedPostgres,
  times: number,
  work: () => Promise<unknown>,
): Promise<number[]> {
  const log = await StatementLog.open(postgres);
  try {
    await sleep(QUIET_MS * 4);
    const before = await log.counts();
    await sleep(IDLE_MS);
    const idle = new Set(
      [...(await log.counts())].filter(([what, count]) => count > (before.get(what) ?? 0)).map(first),
    );
    const total = async (): Promise<number> =>
      [...(await log.counts())].reduce((sum, [what, count]) => (idle.has(what) ? sum : sum + count), 0);
    const whenQuiet = async (): Promise<number> => {
      for (let known = await total(); ;) {
        await sleep(QUIET_MS);
        const now = await total();
        if (now === known) return now;
        known = now;
      }
    };
    const counted: number[] = [];
    for (let index = 0; index < times; index += 1) {
      const start = await whenQuiet();
      await work();
      counted.push((await whenQuiet()) - start);
    }
    return counted;
  } finally {
    await log.close();
  }
}

const first = ([what]: [string, number]): string => what;

/** The statements that Postgres logs from its opening to its closing. */
class StatementLog {
  private constructor(private readonly client: pg.Client) {}

  static async open(postgres: EmbeddedPostgres): Promise<StatementLog> {
    const client = new pg.Client(postgres.connection);
    await client.connect();
    await client.query("ALTER SYSTEM SET log_statement = 'all'");
    await client.query('SELECT pg_reload_conf()');
    return new StatementLog(client);
  }

  /** How often each statement of the service was sent so far, by its name or its first line. */
  async counts(): Promise<Map<string, number>> {
    const { rows } = await this.client.query<{ what: string; count: number }>(
      `SELECT what[1] AS what, count(*)::int AS count
       FROM regexp_matches(pg_read_file('log/${LOG_FILE}'), '^workloadd LOG:  (?:execute|statement:) ([^:\\n]*)', 'gn') what
       GROUP BY what[1]`,
    );
    return new Map(rows.map(({ what, count }) => [what, count]));
  }

  async close(): Promise<void> {
    await this.client.query("ALTER SYSTEM SET log_statement = 'none'");
    await this.client.query('SELECT pg_reload_conf()');
    await this.client.end();
  }
}
