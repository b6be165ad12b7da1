import { revokeToken } from '../../ledger/tokens';
import { anEvent, DISPATCH_ALL, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
let other: string;
let workload: string;
beforeAll(async () => {
  api = await startTestApi();
  other = await api.newToken(['admin'], 'other');
  await api.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
  workload = (await api.ask('POST', '/api/events', { json: anEvent('mine') })).body.workload_id;
  await api.admit(workload);
});
afterAll(() => api.stop());

test("another tenant's workload is not there, whatever is asked of it", async () => {
  expect((await api.ask('GET', `/api/workloads/${workload}`)).status).toBe(200);
  const read = await api.ask('GET', `/api/workloads/${workload}`, { token: other });
  expect([read.status, read.body.code]).toEqual([404, 'not_found']);
  for (const action of ['cancel', 'approve', 'deny', 'redeliver']) {
    const answer = await api.ask('POST', `/api/workloads/${workload}/${action}`, {
      token: other,
      json: { reason: 'mine now' },
    });
    expect([action, answer.status]).toEqual([action, 404]);
  }
  expect((await api.ask('GET', `/api/workloads/${workload}`)).body.state).toBe('queued');
});

test('lists and policies are of the own tenant only', async () => {
  expect((await api.ask('GET', '/api/workloads', { token: other })).body.workloads).toEqual([]);
  expect((await api.ask('GET', '/api/policy', { token: other })).status).toBe(404);
});

test('the same event id is another event for another tenant', async () => {
  const answer = await api.ask('POST', '/api/events', { token: other, json: anEvent('mine', { data: { b: 1 } }) });
  expect(answer.body).toMatchObject({ duplicate: false });
  expect(answer.body.workload_id).not.toBe(workload);
});

test('an idempotency key of another tenant is another key', async () => {
  const headers = { 'Idempotency-Key': 'shared' };
  const mine = await api.ask('POST', `/api/workloads/${workload}/cancel`, { json: { reason: 'done' }, headers });
  expect(mine.status).toBe(200);
  const theirs = await api.ask('POST', `/api/workloads/${workload}/cancel`, {
    token: other,
    json: { reason: 'done' },
    headers,
  });
  expect(theirs.status).toBe(404);
});

test('unknown, expired, revoked, mistyped and missing tokens all get the same 401', async () => {
  const expired = await api.newToken(['admin'], 'default', 0);
  const revoked = await api.newToken(['admin']);
  expect((await api.ask('GET', '/api/whoami', { token: revoked })).status).toBe(200);
  expect(await revokeToken(api.db, revoked.split('_')[1]!)).toBe(true);
  const unknown = `owt_${'0'.repeat(16)}_${'A'.repeat(43)}`;
  const wrongSecret = api.token.slice(0, 21) + 'A'.repeat(43);
  const answers = await Promise.all(
    [expired, revoked, unknown, wrongSecret, 'nonsense', null].map((token) => api.ask('GET', '/api/whoami', { token })),
  );
  for (const { status, body, headers } of answers) {
    expect([status, body.code, body.detail, headers.get('www-authenticate')]).toEqual([
      401,
      'auth.required',
      answers[0]!.body.detail,
      'Bearer',
    ]);
  }
});
