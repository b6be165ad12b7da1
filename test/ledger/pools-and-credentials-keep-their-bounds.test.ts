import { Problem } from '../../contracts/problems';
import type { NewPool } from '../../contracts/worker-pools';
import { createPool, updatePool } from '../../ledger/pools';
import { registerWorker } from '../../ledger/register-worker';
import { issueCredential, listCredentials, revokeCredential, rotateCredential } from '../../ledger/worker-credentials';
import { orderWorker } from '../../ledger/worker-orders';
import { authenticateWorker } from '../../ledger/workers';
import { FreshLedger, problemOf, race, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const me = { actor: 'admin' };
const order = (id: string, move: 'activate' | 'revoke' | 'retire') =>
  ledger.db.transaction((tx) => orderWorker(tx, id, move, me));

async function pool(more: Partial<NewPool> = {}): Promise<string> {
  const id = ledger.unique('pool');
  await createPool(ledger.db, { pool_id: id, name: id, mode: 'self_hosted', ...more }, me);
  return id;
}
async function worker(poolId?: string): Promise<string> {
  const id = ledger.unique('worker');
  await registerWorker(ledger.db, { worker_id: id, pool_id: poolId ?? (await pool()), display_name: id }, me);
  return id;
}
const told = async (key: string, id: string): Promise<string[]> =>
  (
    await ledger.db.query<{ type: string }>(
      "SELECT type FROM audit WHERE detail->>$1 = $2 AND actor = 'admin' ORDER BY seq",
      [key, id],
    )
  ).map(({ type }) => type);

test('however many register at once, no more than max_workers pass, and the terminal ones leave room', async () => {
  const full = await pool({ max_workers: 3 });
  const answers = await race(Array.from({ length: 10 }, () => () => worker(full)));
  const passed = answers.filter((answer) => answer.startsWith('worker-'));
  expect(passed).toHaveLength(3);
  expect(answers.filter((answer) => answer === 'capacity.pool_workers')).toHaveLength(7);
  expect(await problemOf(worker(full))).toMatchObject({ extra: { limit: 3, used: 3 }, retryAfterMs: 60_000 });
  expect(await refusal(ledger.enrol({ pool: full }))).toBe('capacity.pool_workers');
  await order(passed[0]!, 'revoke');
  await expect(worker(full)).resolves.toMatch(/^worker-/);
  expect(await refusal(worker(full))).toBe('capacity.pool_workers');
});

test('nobody is registered into a pool that is not active, and retired is final', async () => {
  const id = await pool();
  await updatePool(ledger.db, id, { status: 'paused' }, me);
  expect(await refusal(worker(id))).toBe('pool.not_active');
  await updatePool(ledger.db, id, { status: 'active', name: 'other' }, me);
  await worker(id);
  await updatePool(ledger.db, id, { status: 'active', name: 'other' }, me);
  await updatePool(ledger.db, id, { status: 'retired' }, me);
  expect(await refusal(worker(id))).toBe('pool.not_active');
  for (const status of ['active', 'paused'] as const) {
    expect(await refusal(updatePool(ledger.db, id, { status }, me))).toBe('pool.not_active');
  }
  expect(await told('pool_id', id)).toEqual([
    'pool.created',
    'pool.paused',
    'pool.updated',
    'pool.resumed',
    'worker.registered',
    'pool.retired',
  ]);
});

test.each(['customer_hosted', 'hybrid', 'other'])('the ledger refuses pools that are %s', async (mode) => {
  const wish = { name: 'x', mode } as unknown as NewPool;
  expect(await problemOf(createPool(ledger.db, wish, me))).toMatchObject({
    code: 'request.invalid',
    errors: [{ pointer: '/mode' }],
  });
  await expect(
    ledger.db.query("INSERT INTO pools (pool_id, name, mode) VALUES ('m', 'm', $1)", [mode]),
  ).rejects.toMatchObject({ code: '23514' });
});

test('a rotated credential stays good for the overlap, and no longer than it would have', async () => {
  const id = await worker();
  const first = await issueCredential(ledger.db, id, { scopes: ['heartbeat'] }, me);
  const second = await rotateCredential(ledger.db, id, first.credential.credential_id, {}, me);
  expect(second.credential).toMatchObject({
    scopes: ['heartbeat'],
    rotated_from_credential_id: first.credential.credential_id,
    last4: second.plaintext.reveal().slice(-4),
  });
  for (const { plaintext } of [first, second]) {
    expect(await authenticateWorker(ledger.db, plaintext.reveal())).toMatchObject({ workerId: id });
  }
  const old = (await listCredentials(ledger.db, id)).find((each) => each.rotated_from_credential_id === null)!;
  const left = Date.parse(old.expires_at) - Date.now();
  expect(left).toBeGreaterThan(300_000);
  expect(left).toBeLessThan(601_000);

  await rotateCredential(ledger.db, id, old.credential_id, { overlapMs: 7 * 86_400_000 }, me);
  const again = (await listCredentials(ledger.db, id)).find((each) => each.credential_id === old.credential_id)!;
  expect(again.expires_at).toBe(old.expires_at);
  await rotateCredential(ledger.db, id, second.credential.credential_id, { overlapMs: 0 }, me);
  expect(await authenticateWorker(ledger.db, second.plaintext.reveal())).toBeNull();
});

test('what is not live is not rotated, and gets nothing new', async () => {
  const id = await worker();
  const revoked = (await issueCredential(ledger.db, id, {}, me)).credential.credential_id;
  const { revoked_at: first } = await revokeCredential(ledger.db, id, revoked, me);
  expect((await revokeCredential(ledger.db, id, revoked, me)).revoked_at).toBe(first);
  expect((await told('credential_id', revoked)).filter((type) => type.endsWith('revoked'))).toHaveLength(1);
  const expired = (await issueCredential(ledger.db, id, {}, me)).credential.credential_id;
  await ledger.db.query('UPDATE worker_credentials SET expires_at = clock_timestamp() WHERE credential_id = $1', [
    expired,
  ]);
  const live = (await issueCredential(ledger.db, id, {}, me)).credential.credential_id;
  for (const each of [revoked, expired]) {
    expect(await refusal(rotateCredential(ledger.db, id, each, {}, me))).toBe('credential.not_live');
  }
  expect(await refusal(rotateCredential(ledger.db, await worker(), live, {}, me))).toBe('not_found');
  await order(id, 'revoke');
  expect(await refusal(rotateCredential(ledger.db, id, live, {}, me))).toBe('credential.not_live');
  expect(await refusal(issueCredential(ledger.db, id, {}, me))).toBe('credential.not_live');
  expect(await listCredentials(ledger.db, id)).toHaveLength(3);
});

test('revoking a worker while credentials are issued to it leaves it none that opens anything', async () => {
  const id = await worker();
  const issue = () => issueCredential(ledger.db, id, {}, me);
  const answers = await race<unknown>([issue, issue, () => order(id, 'revoke'), issue, issue]);
  for (const answer of answers) {
    if (typeof answer === 'object' && answer !== null && 'plaintext' in answer) {
      const { plaintext } = answer as Awaited<ReturnType<typeof issue>>;
      expect(await authenticateWorker(ledger.db, plaintext.reveal())).toBeNull();
    }
  }
  expect(await refusal(issue())).toBe('credential.not_live');
});

test('that a credential was used is written once a minute', async () => {
  const id = await worker();
  const { plaintext, credential } = await issueCredential(ledger.db, id, {}, me);
  const used = async (): Promise<string | null> => (await listCredentials(ledger.db, id))[0]!.last_used_at;
  expect(await used()).toBeNull();
  await authenticateWorker(
    ledger.db,
    `${plaintext.reveal().slice(0, -1)}${plaintext.reveal().endsWith('A') ? 'B' : 'A'}`,
  );
  expect(await used()).toBeNull();
  await authenticateWorker(ledger.db, plaintext.reveal());
  const first = await used();
  await authenticateWorker(ledger.db, plaintext.reveal());
  expect([first === null, await used()]).toEqual([false, first]);
  await ledger.db.query(
    "UPDATE worker_credentials SET last_used_at = last_used_at - interval '61 seconds' WHERE credential_id = $1",
    [credential.credential_id],
  );
  await authenticateWorker(ledger.db, plaintext.reveal());
  expect(Date.parse((await used())!)).toBeGreaterThanOrEqual(Date.parse(first!));
});

test("a tenant's admin makes pools of and for the tenant, and says nothing of others", async () => {
  const tenant = await ledger.tenant();
  const own = await createPool(ledger.db, { name: 'own', mode: 'self_hosted' }, { actor: 'admin', owner: tenant });
  expect(own).toMatchObject({ tenant_id: tenant, tenants: [tenant], workers: {} });
  const wish = { name: 'x', mode: 'self_hosted', tenants: ['other'] } as const;
  const problem = await problemOf(
    createPool(ledger.db, { ...wish, tenants: ['other'] }, { actor: 'admin', owner: tenant }),
  );
  expect(problem).toBeInstanceOf(Problem);
  expect(problem.code).toBe('auth.scope_required');
});
