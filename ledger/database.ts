import { createHash } from 'node:crypto';
import pg from 'pg';
import { Problem } from '../contracts/problems';

/** A connection, or a transaction on one. Statements are prepared once per connection. */
export interface Queryable {
  query<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

export interface DatabaseOptions {
  connection: pg.PoolConfig;
  /** Largest number of connections. Default 10. */
  maxConnections?: number;
  /** Called with the error code when an idle connection breaks. */
  onConnectionLost?: (code: string) => void;
}

const RETRYABLE = new Set(['40001', '40P01']);
const MAX_TRIES = 5;

/** The ledger database. Every failure to reach it is the problem `ledger.unavailable`; its error texts never get out. */
export class Database implements Queryable {
  private readonly pool: pg.Pool;

  constructor(options: DatabaseOptions) {
    this.pool = new pg.Pool({
      max: options.maxConnections ?? 10,
      connectionTimeoutMillis: 3000,
      statement_timeout: 10_000,
      query_timeout: 15_000,
      idle_in_transaction_session_timeout: 15_000,
      application_name: 'workloadd',
      ...options.connection,
    });
    this.pool.on('error', (error) => options.onConnectionLost?.(codeOf(error)));
  }

  async query<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return retrying(async () => {
      const result = await this.pool.query<Row>(prepared(text, values));
      return result.rows;
    });
  }

  /**
   * Runs `work` in one transaction, again from its start after a deadlock or a serialization failure, so `work` must have
   * no effect but its statements.
   */
  async transaction<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return retrying(async () => {
      const client = await this.pool.connect();
      let broken: Error | undefined;
      const noteLoss = (error: Error): void => {
        broken = error;
      };
      client.on('error', noteLoss);
      try {
        await client.query('BEGIN');
        const result = await work({
          query: async <Row extends object>(text: string, values: readonly unknown[] = []) =>
            (await client.query<Row>(prepared(text, values))).rows,
        });
        await client.query('COMMIT');
        return result;
      } catch (error) {
        if (!broken) await client.query('ROLLBACK').catch(noteLoss);
        throw error;
      } finally {
        client.off('error', noteLoss);
        client.release(broken);
      }
    });
  }

  /** A connection of one's own, for LISTEN. The caller releases it. */
  async dedicated(): Promise<pg.PoolClient> {
    try {
      return await this.pool.connect();
    } catch (error) {
      throw translated(error);
    }
  }

  async close(): Promise<void> {
    await this.pool.end();
  }
}

/** Runs `work` inside the transaction it is given, or in one of its own. */
export const within = <T>(db: Database | Queryable, work: (tx: Queryable) => Promise<T>): Promise<T> =>
  db instanceof Database ? db.transaction(work) : work(db);

async function retrying<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt < MAX_TRIES && RETRYABLE.has(codeOf(error))) continue;
      throw translated(error);
    }
  }
}

const names = new Map<string, string>();
function prepared(text: string, values: readonly unknown[]): pg.QueryConfig {
  let name = names.get(text);
  if (name === undefined) {
    name = createHash('sha256').update(text).digest('hex').slice(0, 24);
    names.set(text, name);
  }
  return { name, text, values: values as unknown[] };
}

const codeOf = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'unknown';

/** No connection, no room, shutting down, or no answer in time (57014: the statement timeout, 55P03, and retries used up). */
const UNREACHABLE = /^(E[A-Z]+|08...|57P0.|57014|55P03|40001|40P01|53...|25P03|3D000)$/;
const UNREACHABLE_TEXT = /timeout|terminated|Connection ended|not queryable/i;

/** A database failure: its SQLSTATE and table only, since PostgreSQL's texts quote values. */
export class LedgerError extends Error {
  constructor(
    readonly code: string,
    readonly table: string | undefined,
    readonly constraint: string | undefined,
  ) {
    super(`ledger error ${code}${table ? ` on ${table}` : ''}${constraint ? ` (${constraint})` : ''}`);
    this.name = 'LedgerError';
  }
}

/** What a failure of the database is to the rest of the service; other errors are returned as they are. */
export function translated(error: unknown): unknown {
  const code = codeOf(error);
  if (error instanceof pg.DatabaseError) {
    return UNREACHABLE.test(code) ? unavailable(code) : new LedgerError(code, error.table, error.constraint);
  }
  if (
    UNREACHABLE.test(code) ||
    (error instanceof Error && !(error instanceof Problem) && UNREACHABLE_TEXT.test(error.message))
  ) {
    return unavailable(code);
  }
  return error;
}

const NO_SUCH_DATABASE = '3D000';

const unavailable = (code: string): Problem =>
  new Problem(
    'ledger.unavailable',
    code === NO_SUCH_DATABASE
      ? 'The ledger database does not exist: create it.'
      : 'The ledger database cannot be reached; nothing is half done. Try again.',
    { retryAfterMs: 2000 },
  );
