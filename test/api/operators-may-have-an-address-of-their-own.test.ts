import { startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
let operator: string;
beforeAll(async () => {
  api = await startTestApi({ config: { operatorListen: { port: 0 } } });
  operator = await api.newToken(['operator']);
});
afterAll(() => api.stop());

test('an operator’s token is good at the operators’ address', async () => {
  const url = api.server.operatorUrl!;
  expect(url).not.toBe(api.url);
  expect((await api.ask('GET', '/api/admin/worker-pools', { url, token: operator })).status).toBe(200);
  expect((await api.ask('GET', '/api/admin/workers', { url, token: operator })).status).toBe(200);
});

test.each(['/api/admin/worker-pools', '/api/admin/workers', '/api/workloads', '/api/whoami'])(
  'and opens %s nowhere else',
  async (path) => {
    const answer = await api.ask('GET', path, { token: operator });
    expect(answer.status).toBe(403);
    expect(answer.body.code).toBe('auth.scope_required');
    expect(answer.body.detail).toContain("operators' address");
  },
);

test('what is no operator’s is served at both', async () => {
  for (const url of [api.url, api.server.operatorUrl!]) {
    expect((await api.ask('GET', '/api/admin/worker-pools', { url })).status).toBe(200);
    expect((await api.ask('GET', '/livez', { url, token: null })).status).toBe(200);
  }
});
