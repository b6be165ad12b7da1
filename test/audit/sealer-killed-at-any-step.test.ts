import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { findingsOf, sealAll } from '../support/audit';
import { FreshLedger } from '../support/fresh-ledger';

const SEALER = `
const { Database } = require('./dist/ledger/database');
const { beginSealPass, sealBatch } = require('./dist/ledger/audit-seal');
const db = new Database({ connection: { connectionString: process.env.LEDGER } });
beginSealPass(db).then((pass) => sealBatch(db, pass, 4)).then(() => db.close());`;

test('a sealer killed before or after its commit leaves a whole chain, and the next one goes on', async () => {
  const ledger = await FreshLedger.open();
  try {
    for (const point of ['seal-uncommitted', 'seal-committed'] as const) {
      for (let index = 0; index < 6; index += 1) await ledger.admitted({ decision: 'ignore' });
      const places = async () => (await ledger.db.query('SELECT 1 FROM audit_seals')).length;
      const before = await places();
      const killed = promisify(execFile)(process.execPath, ['-e', SEALER], {
        cwd: path.resolve(__dirname, '../..'),
        env: { ...process.env, LEDGER: ledger.schema.url, WORKLOADD_DEBUG_POINT: point },
      });
      await expect(killed).rejects.toMatchObject({ signal: 'SIGKILL' });
      expect((await places()) - before).toBe(point === 'seal-committed' ? 4 : 0);
      await sealAll(ledger.db);
      expect(await findingsOf(ledger.db)).toEqual([]);
      expect(
        await ledger.db.query(
          'SELECT 1 FROM audit a WHERE NOT EXISTS (SELECT 1 FROM audit_seals s WHERE s.seq = a.seq)',
        ),
      ).toEqual([]);
    }
  } finally {
    await ledger.close();
  }
});
