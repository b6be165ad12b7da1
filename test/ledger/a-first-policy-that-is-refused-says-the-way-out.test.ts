import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pino from 'pino';
import { seedPolicy } from '../../workers/up/seed-policy';
import { FreshLedger } from '../support/fresh-ledger';

let ledger: FreshLedger;
let dir: string;
beforeAll(async () => {
  ledger = await FreshLedger.open();
  await ledger.db.query("UPDATE tenants SET active_policy_version = NULL WHERE tenant_id = 'default'");
  dir = mkdtempSync(join(tmpdir(), 'policy-'));
});
afterAll(async () => {
  await ledger.close();
  rmSync(dir, { recursive: true });
});

test.each([
  ['names a pool that is not there', 'event.action == "x"', /no pool "away".*; start without --policy, make the pool/],
  ['does not hold by itself', 'event.acton == "x"', /no field "acton".*; run `workloadd policy check /],
])('one that %s', async (_, when, advice) => {
  const file = join(dir, 'policy.yaml');
  writeFileSync(
    file,
    `{ version: 1, default: { decision: ignore }, rules: [{ id: a, when: '${when}', decision: dispatch, to: { pool: away } }] }`,
  );
  await expect(seedPolicy(ledger.db, file, pino({ level: 'silent' }))).rejects.toThrow(advice);
});
