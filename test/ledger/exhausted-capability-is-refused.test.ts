import type { CapabilityGrant } from '../../contracts/capabilities';
import { askFor, grantOf, verdictOf } from '../support/capabilities';
import { FreshLedger } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
  // All connections are there before the first race, or it would be none.
  await Promise.all(Array.from({ length: 20 }, () => ledger.db.query('SELECT pg_sleep(0.3)')));
});
afterAll(() => ledger.close());

const tokenFor = async (...grants: Partial<CapabilityGrant>[]): Promise<{ token: string; workId: string }> => {
  const { claim, workId } = await ledger.delivered({ grants: grants.map((grant) => grantOf(grant)) });
  return { token: claim.capability!.token, workId };
};

test('of a hundred at once on five uses exactly five are allowed, each with a number of its own', async () => {
  const { token, workId } = await tokenFor({ max_uses: 5 });
  const answers = await Promise.all(Array.from({ length: 100 }, () => askFor(ledger, token)));
  const allowed = answers.flatMap((answer) => (answer.allowed ? [answer] : []));
  expect(allowed.map(({ use }) => use).sort()).toEqual([1, 2, 3, 4, 5]);
  expect(allowed.map(({ remaining }) => remaining).sort()).toEqual([0, 1, 2, 3, 4]);
  expect(new Set(answers.map(verdictOf))).toEqual(new Set(['allowed', 'exhausted']));
  expect(await ledger.audit(workId, 'capability.used')).toHaveLength(5);
  expect(await ledger.audit(workId, 'capability.refused')).toHaveLength(95);
});

test('the same key counts once and gets the same answer, one after another and all at once', async () => {
  const { token, workId } = await tokenFor({ max_uses: 1 });
  const answers = await Promise.all(
    Array.from({ length: 40 }, () => askFor(ledger, token, { idempotency_key: 'run-1' })),
  );
  answers.push(await askFor(ledger, token, { idempotency_key: 'run-1' }));
  expect(answers.filter((answer) => answer.allowed && !answer.repeated)).toHaveLength(1);
  const same = answers.map((answer) => ({ ...answer, repeated: undefined }));
  expect(new Set(same.map((answer) => JSON.stringify(answer))).size).toBe(1);
  expect(same[0]).toMatchObject({ allowed: true, workload_id: workId, delivery: 1, use: 1, remaining: 0 });
  expect(await ledger.audit(workId, 'capability.used')).toHaveLength(1);
  expect(await ledger.audit(workId, 'capability.repeated')).toHaveLength(40);

  expect(verdictOf(await askFor(ledger, token, { idempotency_key: 'run-2' }))).toBe('exhausted');
});

test('a key stands for one request; with another one it is a conflict and nothing is counted', async () => {
  const { token } = await tokenFor({ literals: ['entry:1', 'entry:2'] });
  await askFor(ledger, token, { idempotency_key: 'k' });
  expect(await askFor(ledger, token, { idempotency_key: 'k', resource: 'entry:2' })).toEqual({
    allowed: false,
    reason: 'idempotency_conflict',
  });
  expect(await askFor(ledger, token)).toMatchObject({ use: 2 });
});

test('a refusal keeps no key: the same request may be allowed once the work goes on', async () => {
  const { claim, workId, principal } = await ledger.delivered({ grants: [grantOf()] });
  const { token } = claim.capability!;
  await ledger.report(principal, workId, 'preempted');
  expect(verdictOf(await askFor(ledger, token, { idempotency_key: 'k' }))).toBe('suspended');
  await ledger.report(principal, workId, 'running');
  expect(await askFor(ledger, token, { idempotency_key: 'k' })).toMatchObject({ allowed: true, use: 1 });
});

test('when several grants fit, one with life and uses left is taken, in their order', async () => {
  const { token } = await tokenFor({ max_uses: 1 }, { max_uses: 2, globs: ['entry:*'] });
  const uses = [];
  for (let count = 0; count < 4; count += 1) uses.push(await askFor(ledger, token));
  expect(uses.map((answer) => (answer.allowed ? [answer.use, answer.remaining] : answer.reason))).toEqual([
    [1, 0],
    [1, 1],
    [2, 0],
    'exhausted',
  ]);
});

test('the end of a capability tells the uses of each grant, in their order', async () => {
  const { token, workId } = await tokenFor({ operations: ['list'] }, { operations: ['put'] }, {});
  await askFor(ledger, token);
  await ledger.operate(workId, { action: 'cancel' });
  expect(await ledger.audit(workId, 'capability.closed')).toMatchObject([{ detail: { uses: [0, 0, 1] } }]);
});

test('refusals are all counted, and recorded up to a bound', async () => {
  const { token, workId } = await tokenFor({ max_uses: 1 });
  await ledger.db.query('UPDATE capability_tokens SET refused = 999 WHERE workload_id = $1', [workId]);
  for (let count = 0; count < 4; count += 1) await askFor(ledger, token, { resource: 'other' });
  expect(await ledger.audit(workId, 'capability.refused')).toHaveLength(1);
  const [row] = await ledger.db.query<{ refused: number }>(
    'SELECT refused FROM capability_tokens WHERE workload_id = $1',
    [workId],
  );
  expect(row!.refused).toBe(1003);
  // What is allowed is recorded whatever was refused.
  await askFor(ledger, token);
  expect(await ledger.audit(workId, 'capability.used')).toHaveLength(1);
});
