import { issueCredential } from '../../ledger/worker-credentials';
import { enrolWorker } from '../../ledger/enrol-worker';
import { registerWorker } from '../../ledger/register-worker';
import { createPool } from '../../ledger/pools';
import { orderWorker } from '../../ledger/worker-orders';
import { anEvent, startTestApi, type Answer, type TestApi } from '../support/api-server';
import { policyText } from '../support/policy';

const NOWHERE = `wl_${'a'.repeat(32)}`;
const ACTOR = { actor: 'test' };

let api: TestApi;
/** A worker of another tenant's pool. */
let stranger: string;
let work: string;
let lease: string;
beforeAll(async () => {
  api = await startTestApi();
  await api.db.query("INSERT INTO tenants (tenant_id) VALUES ('two')");
  await createPool(api.db, { pool_id: 'two-s', name: 'x', mode: 'self_hosted' }, { ...ACTOR, owner: 'two' });
  await registerWorker(api.db, { worker_id: 'stranger', pool_id: 'two-s', display_name: 'x' }, ACTOR);
  await api.db.transaction((tx) => orderWorker(tx, 'stranger', 'activate', ACTOR));
  stranger = (await issueCredential(api.db, 'stranger', {}, ACTOR)).plaintext.reveal();
  const source = policyText(
    '{ id: work, when: "true", decision: dispatch, to: { executor: managed }, trigger: { prompt: go, include: [n] } }',
  );
  await api.ask('PUT', '/api/policy', { json: { source } });
  const holder = await enrolWorker(api.db, { workerId: 'holder', poolId: 'default', ...ACTOR });
  const posted = await api.ask('POST', '/api/events', { json: anEvent('theirs', { data: { n: 1 } }) });
  work = (posted.body as unknown as { workload_id: string }).workload_id;
  await api.admit(work);
  const token = holder.plaintext.reveal();
  const claimed = await api.ask('POST', '/api/workers/holder/claims', { token, json: { work_id: work } });
  lease = (JSON.parse(claimed.text) as { lease_token: string }).lease_token;
  const intent = { token, json: { intent_key: 'k'.repeat(32) }, headers: { 'Lease-Token': lease } };
  expect((await api.ask('POST', `/api/workers/holder/leases/${work}/intent`, intent)).status).toBe(200);
});
afterAll(() => api.stop());

/** What a worker can ask of a unit, and how. */
const ASKS: [path: (id: string) => string, body: (id: string) => object][] = [
  [() => 'claims', (work_id) => ({ work_id })],
  [(id) => `leases/${id}/intent`, () => ({ intent_key: 'k'.repeat(32) })],
  [(id) => `leases/${id}/renew`, () => ({ running: true })],
  [(id) => `leases/${id}/release`, () => ({ reason: 'draining' })],
  [(id) => `leases/${id}/complete`, () => ({ write: 'written' })],
  [(id) => `work/${id}/run-status`, () => ({ status: 'completed' })],
  [(id) => `work/${id}/events`, () => ({ events: [{ event_id: 'e', sequence: 1, type: 'a', payload: {} }] })],
  [(id) => `work/${id}/command-status`, () => ({ command_id: 'c', sequence: 1, status: 'pending' })],
];

const ask = (id: string, [path, body]: (typeof ASKS)[number]): Promise<Answer> =>
  api.ask('POST', `/api/workers/stranger/${path(id)}`, {
    token: stranger,
    json: body(id),
    headers: path(id) === 'claims' ? {} : { 'Lease-Token': lease },
  });

test("to a worker whose pool does not serve its tenant, another pool's work is not there", async () => {
  for (const each of ASKS) {
    const [theirs, none] = [await ask(work, each), await ask(NOWHERE, each)];
    const told = ({ status, body: { request_id: _, ...rest } }: Answer) => ({ path: each[0]('…'), status, rest });
    expect(told(theirs)).toEqual(told(none));
    expect(none.status).toBe(404);
  }
  expect(await api.db.query("SELECT 1 FROM audit WHERE tenant_id = 'default' AND actor = 'worker:stranger'")).toEqual(
    [],
  );
});

test('also while its own pool is paused', async () => {
  await api.db.query("UPDATE pools SET status = 'paused' WHERE pool_id = 'two-s'");
  expect((await ask(work, ASKS[0]!)).status).toBe(404);
});

test('who had the work once is told that its lease is stale, wherever the work is now, and so is the audit', async () => {
  await api.db.query("UPDATE workers SET pool_id = 'two-s' WHERE worker_id = 'holder'");
  await api.db.query('UPDATE leases SET expires_at = clock_timestamp() WHERE work_id = $1', [work]);
  const { plaintext } = await issueCredential(api.db, 'holder', {}, ACTOR);
  const late = await api.ask('POST', `/api/workers/holder/work/${work}/run-status`, {
    token: plaintext.reveal(),
    json: { status: 'completed' },
    headers: { 'Lease-Token': lease },
  });
  expect([late.status, late.body.code]).toEqual([409, 'lease.stale']);
  const noted = await api.db.query(
    "SELECT 1 FROM audit WHERE workload_id = $1 AND type = 'lease.stale_write_rejected'",
    [work],
  );
  expect(noted).toHaveLength(1);
});
