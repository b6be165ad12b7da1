import { grantReader } from '../../ledger/audit-reader';
import type { ConfigOf } from '../config';
import { withLedger } from '../ledger-access';

/** `workloadd audit grant-reader` */
export async function runGrantReader(config: ConfigOf<'audit grant-reader'>, role: string): Promise<void> {
  const { made, schema, views } = await withLedger(config, (db) => grantReader(db, role, 'cli'));
  console.log(`role ${role} reads ${views.map((view) => `${schema}.${view}`).join(', ')}, and nothing else`);
  if (made)
    console.log(
      `it was made, without a password: set one in psql by \\password ${role}, or let it in by peer or certificate`,
    );
}
