import type pg from 'pg';
import type { Logger } from 'pino';
import { Problem } from '../contracts/problems';
import { Backoff, pause } from '../domain/backoff';
import { Database } from '../ledger/database';
import { migrate, pendingMigrations } from '../ledger/migrate';

/** How to reach the ledger. */
export interface LedgerTarget {
  connection: pg.PoolConfig;
  /** Postgres schema; default: the connection's search path. */
  schema?: string | undefined;
  maxConnections?: number | undefined;
}

/** The target of a database URL. */
export const ledgerAt = (url: string, schema?: string, maxConnections?: number): LedgerTarget => ({
  connection: { connectionString: url },
  schema,
  maxConnections,
});

/** Opens the ledger without connecting yet. */
export function openLedger(target: LedgerTarget, logger: Logger): Database {
  return new Database({
    connection: inSchema(target),
    ...(target.maxConnections === undefined ? {} : { maxConnections: target.maxConnections }),
    onConnectionLost: (code) => logger.warn({ code }, 'a connection to the ledger was lost'),
  });
}

/** What a URL says goes before all else, so the schema has to be put into it. */
function inSchema({ connection, schema }: LedgerTarget): pg.PoolConfig {
  if (schema === undefined) return connection;
  const options = `-c search_path=${schema}`;
  if (connection.connectionString === undefined) return { ...connection, options };
  const url = new URL(connection.connectionString);
  url.searchParams.set('options', options);
  return { ...connection, connectionString: url.href };
}

/** The ledger's schema is older than the program. */
class LedgerNotMigrated extends Error {
  constructor(missing: readonly string[]) {
    super(
      `the ledger's schema lacks ${missing.join(', ')}: run \`workloadd migrate\` first, or start with --auto-migrate`,
    );
    this.name = 'LedgerNotMigrated';
  }
}

/** Brings the ledger's schema up to date. Returns the names of the migrations that were applied. */
export async function migrateLedger(db: Database, schema: string | undefined): Promise<string[]> {
  if (schema !== undefined) await db.query(`CREATE SCHEMA IF NOT EXISTS ${schema}`);
  return migrate(db);
}

export interface PrepareOptions {
  db: Database;
  schema?: string | undefined;
  /** Migrate instead of refusing. */
  autoMigrate: boolean;
  stopping: AbortSignal;
  logger: Logger;
}

/**
 * Waits until the ledger can be reached, and sees that its schema is up to date. Fails with {@link LedgerNotMigrated} when it is
 * not and must not be changed here. A stop ends the wait.
 */
export async function prepareLedger({ db, schema, autoMigrate, stopping, logger }: PrepareOptions): Promise<void> {
  const backoff = new Backoff(500, 10_000);
  while (!stopping.aborted) {
    try {
      if (autoMigrate) {
        const applied = await migrateLedger(db, schema);
        if (applied.length > 0) logger.info({ applied }, 'the ledger was migrated');
        return;
      }
      const missing = await pendingMigrations(db);
      if (missing.length > 0) throw new LedgerNotMigrated(missing);
      return;
    } catch (error) {
      if (!(error instanceof Problem && error.code === 'ledger.unavailable')) throw error;
      logger.warn({ why: error.message }, 'the ledger database cannot be used yet; waiting for it');
    }
    await pause(backoff.next(), stopping);
  }
}
