import pino from 'pino';
import type { Database } from '../ledger/database';
import { findEmbeddedPostgres } from '../ledger/embedded-postgres';
import { ledgerAt, openLedger, type LedgerTarget } from '../workers/ledger-connection';
import type { ConfigOf } from './config';
import { defaultDataDir } from './config/options';
import { CommandFailed } from './exit-codes';

type LedgerConfig = ConfigOf<'migrate'>;

/** The ledger an operator command works on: that of the database URL, else that of the `up` which runs on the data dir. */
export function ledgerTarget({ databaseUrl, databaseSchema, dataDir }: LedgerConfig): LedgerTarget {
  if (databaseUrl) return ledgerAt(databaseUrl().reveal(), databaseSchema, 2);
  const folder = dataDir ?? defaultDataDir(process.env);
  const connection = findEmbeddedPostgres(folder);
  if (connection) return { connection, schema: databaseSchema, maxConnections: 2 };
  throw new CommandFailed(
    `no ledger: set DATABASE_URL (or WORKLOADD_DATABASE_URL_FILE), or start \`workloadd up\` on ${folder} (another folder: --data-dir)`,
  );
}

/** Runs an operator command on the ledger. */
export async function withLedger<T>(config: LedgerConfig, work: (db: Database) => Promise<T>): Promise<T> {
  const db = openLedger(ledgerTarget(config), pino({ level: 'silent' }));
  try {
    return await work(db);
  } finally {
    await db.close();
  }
}
