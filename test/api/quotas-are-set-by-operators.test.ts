import { anEvent, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
let operator: string;
let stranger: string;
beforeAll(async () => {
  api = await startTestApi();
  operator = await api.newToken(['operator']);
  await api.db.query("INSERT INTO tenants (tenant_id) VALUES ('other'), ('empty')");
  await api.db.query(
    "INSERT INTO pools (pool_id, name, tenant_id, tenants) VALUES ('others', 'others', 'other', '{other}')",
  );
  stranger = await api.newToken(['admin'], 'other');
});
afterAll(() => api.stop());

const TENANT = '/api/admin/tenants/default/quotas';
const reason = 'because';
const set = (limits: object, path = TENANT) => api.ask('PUT', path, { token: operator, json: { limits, reason } });
let events = 0;
const post = (token = api.token) => api.ask('POST', '/api/events', { token, json: anEvent(`event-${(events += 1)}`) });

test('a refused event is 429 with code, limit, use, end of the window and Retry-After; others go on', async () => {
  expect((await set({ events_per_hour: 0 })).status).toBe(200);
  const { status, body, headers } = await post();
  expect(status).toBe(429);
  expect(body).toMatchObject({ code: 'quota.exceeded', quota: 'events_per_hour', limit: 0, used: 0 });
  expect(Date.parse(String((body as unknown as { reset_at: string }).reset_at)) % 3_600_000).toBe(0);
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await post(stranger)).status).toBe(202);

  const batch = await api.ask('POST', '/api/events/batch', { json: { events: [anEvent('x'), anEvent('y')] } });
  expect(batch.status).toBe(200);
  expect(batch.body).toMatchObject({
    results: [
      { status: 429, problem: { code: 'quota.exceeded' } },
      { status: 429, problem: { code: 'quota.exceeded' } },
    ],
  });
  const whole = await api.ask('POST', '/api/events', {
    raw: JSON.stringify([{ specversion: '1.0', id: 'ce', source: 'rss', type: 'triage', data: {} }]),
    headers: { 'content-type': 'application/cloudevents-batch+json' },
  });
  expect(whole.status).toBe(429);
  const metrics = await api.ask('GET', '/metrics', { token: operator });
  expect(metrics.text).toMatch(/workloadd_quota_denials_total\{code="quota.exceeded"\} 4/);
  expect(metrics.text).toContain('workloadd_queued_work{scope="tenant",id="other"} 1');
  await set({});
  expect((await post()).status).toBe(202);
});

test('a lapsed entitlement is 402 for new events and for nothing else', async () => {
  const lapse = (entitlement: string) =>
    api.ask('PUT', '/api/admin/tenants/default/entitlement', { token: operator, json: { entitlement, reason } });
  const known = anEvent('known');
  const { body } = await api.ask('POST', '/api/events', { json: known });
  const { workload_id: id } = body as unknown as { workload_id: string };
  expect((await lapse('lapsed')).body).toMatchObject({ quotas: { entitlement: 'lapsed' } });
  expect(await post()).toMatchObject({ status: 402, body: { code: 'entitlement.lapsed' } });
  expect((await api.ask('POST', '/api/events', { json: known })).status).toBe(202);
  expect((await api.ask('GET', `/api/workloads/${id}`)).status).toBe(200);
  expect((await api.ask('GET', '/api/audit/export')).status).toBe(200);
  expect((await api.ask('POST', `/api/workloads/${id}/cancel`, { json: { reason } })).status).toBe(200);
  await lapse('active');
  expect((await post()).status).toBe(202);
});

test('operators set; a tenant’s admin reads its own, and others’ are not there for it', async () => {
  await set({ queued_work: 7 }, '/api/admin/tenants/empty/quotas');
  const read = await api.ask('GET', '/api/admin/tenants/empty/quotas', { token: operator });
  expect(read.body).toEqual({
    quotas: {
      tenant_id: 'empty',
      entitlement: 'active',
      use: [{ quota: 'queued_work', limit: 7, used: 0, reset_at: null }],
      queue: { work: 0, oldest_age_seconds: 0 },
    },
  });
  expect((await set({ claims_per_minute: 3 }, '/api/admin/worker-pools/others/quotas')).body).toMatchObject({
    quotas: { pool_id: 'others', use: [{ quota: 'claims_per_minute', limit: 3, used: 0 }] },
  });
  const asked = async (method: string, path: string, token: string) =>
    (await api.ask(method, path, { token, ...(method === 'PUT' && { json: { limits: {}, reason } }) })).status;
  expect(await asked('GET', '/api/admin/tenants/other/quotas', stranger)).toBe(200);
  expect(await asked('GET', '/api/admin/worker-pools/others/quotas', stranger)).toBe(200);
  expect(await asked('PUT', '/api/admin/tenants/other/quotas', stranger)).toBe(403);
  expect(await asked('PUT', '/api/admin/worker-pools/others/quotas', stranger)).toBe(403);
  for (const path of ['tenants/empty', 'tenants/nobody', 'worker-pools/default', 'worker-pools/none']) {
    expect([path, await asked('GET', `/api/admin/${path}/quotas`, stranger)]).toEqual([path, 404]);
  }
  for (const path of ['tenants/nobody', 'worker-pools/none']) {
    expect([path, await asked('PUT', `/api/admin/${path}/quotas`, operator)]).toEqual([path, 404]);
  }
  expect(await asked('GET', TENANT, await api.newToken(['workloads:read']))).toBe(403);
});

test('what is no limit is refused by name, and nothing is set', async () => {
  const refused = async (body: string, path = TENANT) => {
    const answer = await api.ask('PUT', path, { token: operator, raw: body });
    return [answer.status, (answer.body as unknown as { errors?: { pointer: string }[] }).errors?.[0]?.pointer];
  };
  const limits = (text: string) => `{"limits":${text},"reason":"x"}`;
  expect(await refused(limits('{"queued_work":-1}'))).toEqual([422, '/limits/queued_work']);
  expect(await refused(limits('{"queued_work":1.5}'))).toEqual([422, '/limits/queued_work']);
  expect(await refused(limits('{"queued_work":"7"}'))).toEqual([422, '/limits/queued_work']);
  expect(await refused(limits('{"queued_work":null}'))).toEqual([422, '/limits/queued_work']);
  expect(await refused(limits('{"queued_work":9999999999999}'))).toEqual([422, '/limits/queued_work']);
  expect((await refused(limits('{"queued_work":NaN}')))[0]).toBe(400);
  expect(await refused(limits('{"workers":1}'))).toEqual([400, '/limits/workers']);
  expect(await refused(limits('{"events_per_minute":1}'), '/api/admin/worker-pools/default/quotas')).toEqual([
    400,
    '/limits/events_per_minute',
  ]);
  expect(await refused('{"limits":{}}')).toEqual([422, '/reason']);
  expect(await api.db.query("SELECT 1 FROM quotas WHERE scope_id = 'default'")).toEqual([]);
});
