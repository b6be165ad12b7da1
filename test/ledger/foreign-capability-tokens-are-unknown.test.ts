import fc from 'fast-check';
import { glob } from '../../domain/policy/glob';
import { STRANGERS_A_MINUTE } from '../../ledger/capability-authorize';
import { recordIntent } from '../../ledger/deliveries';
import { askFor, grantOf, verdictOf } from '../support/capabilities';
import { FreshLedger, intentKey } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
});
afterAll(() => ledger.close());

test('forged, cut, changed and other-tenant tokens are told apart by nobody', async () => {
  const { claim } = await ledger.delivered({ grants: [grantOf()] });
  const { token } = claim.capability!;
  const [id, secret] = [token.slice(4, 20), token.slice(21)];
  const tenantId = await ledger.tenant();
  const forged = [
    [`owc_${id}_${'A'.repeat(43)}`, 'default'],
    [`owc_${'0'.repeat(16)}_${secret}`, 'default'],
    [token.slice(0, -1), 'default'],
    [`${token} `, 'default'],
    [token.toUpperCase(), 'default'],
    [secret, 'default'],
    ['x', 'default'],
    [claim.lease_token, 'default'],
    [token, tenantId],
  ] as const;
  for (const [presented, asking] of forged) {
    expect(await askFor(ledger, presented, { tenantId: asking })).toEqual({ allowed: false, reason: 'unknown' });
  }
  const rows = await ledger.db.query<{ tenant_id: string; detail: Record<string, unknown> }>(
    `SELECT tenant_id, detail FROM audit WHERE type = 'capability.refused' AND workload_id IS NULL ORDER BY seq`,
  );
  expect(rows.map((row) => row.tenant_id)).toEqual(forged.map(([, asking]) => asking));
  // The id, which is no secret, says whose token somebody tried to guess.
  expect(rows[0]!.detail).toMatchObject({ reason: 'unknown', token_id: id, hook: 'ctx', resource: 'entry:1' });
  expect(JSON.stringify(rows)).not.toContain(secret);
  expect(verdictOf(await askFor(ledger, token))).toBe('allowed');
});

test('strangers leave rows up to a bound a minute and caller', async () => {
  for (let index = 0; index < STRANGERS_A_MINUTE + 5; index += 1) {
    await askFor(ledger, `owc_${index}`, { actor: 'token:loud' });
  }
  await askFor(ledger, 'owc_', { actor: 'token:other' });
  expect(
    await ledger.db.query(
      `SELECT actor, count(*)::int FROM audit WHERE actor IN ('token:loud', 'token:other') GROUP BY actor ORDER BY actor`,
    ),
  ).toEqual([
    { actor: 'token:loud', count: STRANGERS_A_MINUTE },
    { actor: 'token:other', count: 1 },
  ]);
});

test('once another delivery was handed over, the token of the one before is of the wrong delivery', async () => {
  const retry = { redeliver_on: ['failed' as const], max_deliveries: 2 };
  const { claim, workId, principal } = await ledger.delivered({ grants: [grantOf({ max_uses: 1 })], retry });
  const first = claim.capability!.token;
  await askFor(ledger, first);
  await ledger.report(principal, workId, 'failed');
  expect(verdictOf(await askFor(ledger, first))).toBe('closed');
  const second = await ledger.claim(principal, workId);
  await recordIntent(ledger.db, second.write, intentKey());
  expect(verdictOf(await askFor(ledger, first))).toBe('wrong_delivery');
  // Each delivery has its own uses.
  expect(await askFor(ledger, second.claim.capability!.token)).toMatchObject({ delivery: 2, use: 1, remaining: 0 });
});

test('a context grant never opens a mutation hook, nor the other way round', async () => {
  const { claim } = await ledger.delivered({
    grants: [grantOf(), grantOf({ hook: 'store', kind: 'mutation', operations: ['put'] })],
  });
  const { token } = claim.capability!;
  const ask = (hook: string, operation: string, kind: 'context' | 'mutation') =>
    askFor(ledger, token, { hook, operation, kind }).then(verdictOf);
  expect(await ask('ctx', 'show', 'mutation')).toBe('operation_not_granted');
  expect(await ask('store', 'put', 'context')).toBe('operation_not_granted');
  expect(await ask('ctx', 'show', 'context')).toBe('allowed');
  expect(await ask('store', 'put', 'mutation')).toBe('allowed');
});

test('a literal is no pattern, and a pattern fits what glob() fits', async () => {
  const { claim } = await ledger.delivered({ grants: [grantOf({ literals: ['entry:*', 'a%'], max_uses: 100 })] });
  const ask = (resource: string) => askFor(ledger, claim.capability!.token, { resource }).then(verdictOf);
  expect([await ask('entry:1'), await ask('entry:*'), await ask('a%'), await ask('ab')]).toEqual([
    'resource_not_granted',
    'allowed',
    'allowed',
    'resource_not_granted',
  ]);

  const text = fc.string({ unit: fc.constantFrom('a', 'b', '/', '%', '_', '\\', '😀', 'é', '\n'), maxLength: 8 });
  const pattern = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '%', '_', '\\', '😀'), maxLength: 8 });
  const cases = fc.sample(fc.tuple(text, pattern), 2000);
  const rows = await ledger.db.query<{ fits: boolean }>(
    `SELECT capability_glob_fits(resource, glob) AS fits
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS given (resource, glob, at) ORDER BY at`,
    [cases.map(([resource]) => resource), cases.map(([, each]) => each)],
  );
  expect(rows.map(({ fits }) => fits)).toEqual(cases.map(([resource, each]) => glob(resource, each)));
  expect(rows.filter(({ fits }) => fits).length).toBeGreaterThan(50);
});
