import { migrateLedger } from '../../workers/ledger-connection';
import type { ConfigOf } from '../config';
import { withLedger } from '../ledger-access';

/** `workloadd migrate` */
export async function runMigrate(config: ConfigOf<'migrate'>): Promise<void> {
  const applied = await withLedger(config, (db) => migrateLedger(db, config.databaseSchema));
  console.log(applied.length === 0 ? 'the ledger is up to date' : `applied ${applied.join(', ')}`);
}
