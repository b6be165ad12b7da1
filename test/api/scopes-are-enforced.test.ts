import { ROUTES } from '../../api/routes';
import { TOKEN_SCOPES, type TokenScope } from '../../contracts/terminology';
import { workloadIdFor } from '../../domain/identity';
import { enrolWorker } from '../../ledger/enrol-worker';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
let worker: string;
const byScope = new Map<TokenScope, string>();
beforeAll(async () => {
  api = await startTestApi();
  for (const scope of TOKEN_SCOPES) byScope.set(scope, await api.newToken([scope]));
  const enrolled = await enrolWorker(api.db, { workerId: 'w1', poolId: 'default', actor: 'test' });
  await enrolWorker(api.db, { workerId: 'w2', poolId: 'default', actor: 'test' });
  worker = enrolled.plaintext.reveal();
});
afterAll(() => api.stop());

const filled = (path: string): string =>
  path
    .replace('{workload_id}', `wl_${'a'.repeat(32)}`)
    .replace('{work_id}', `wl_${'a'.repeat(32)}`)
    // Orders to a worker that there is would be carried out.
    .replace('{worker_id}', path.startsWith('/api/admin/') ? 'nobody' : 'w1');
const call = (method: string, path: string, token: string | null) =>
  api.ask(method.toUpperCase(), filled(path), { token, ...(method === 'get' ? {} : { json: {} }) });

const guarded = ROUTES.filter(({ access }) => access.kind !== 'none').map(
  (declared) => [`${declared.method} ${declared.path}`, declared] as const,
);

test.each(guarded)('%s opens only with what it says', async (_name, { method, path, access }) => {
  expect((await call(method, path, null)).status).toBe(401);
  const asWorker = await call(method, path, worker);
  expect([asWorker.status === 403, asWorker.status === 401]).toEqual([access.kind !== 'worker', false]);
  for (const [scope, token] of byScope) {
    const { status } = await call(method, path, token);
    const open =
      access.kind === 'worker'
        ? false
        : access.kind === 'operator'
          ? scope === 'operator'
          : scope === 'admin' ||
            scope === 'operator' ||
            (access.kind === 'token' && (access.scopes.length === 0 || access.scopes.includes(scope)));
    expect([scope, status === 403]).toEqual([scope, !open]);
    expect(status).not.toBe(401);
  }
});

test("a worker's credential does not open another worker's routes", async () => {
  expect((await api.ask('GET', '/api/workers/w1', { token: worker })).body).toEqual({
    worker: { worker_id: 'w1', pool_id: 'default', status: 'active', max_open_deliveries: 1 },
  });
  const foreign = await api.ask('GET', '/api/workers/w2', { token: worker });
  expect([foreign.status, foreign.body.code]).toEqual([403, 'auth.scope_required']);
});

test('whoami tells tenant, name and scopes, and never the token', async () => {
  const answer = await api.ask('GET', '/api/whoami', { token: byScope.get('audit:read')! });
  expect(answer.body).toEqual({
    tenant_id: 'default',
    token_id: byScope.get('audit:read')!.split('_')[1],
    name: 'test',
    scopes: ['audit:read'],
    expires_at: null,
  });
});

test('a bearer that keeps being refused must wait, and does not shut out the good ones', async () => {
  const bad = `owt_${'1'.repeat(16)}_${'B'.repeat(43)}`;
  const statuses: number[] = [];
  for (let attempt = 0; attempt < 22; attempt += 1)
    statuses.push((await api.ask('GET', '/api/whoami', { token: bad })).status);
  expect(statuses).toEqual([...Array<number>(20).fill(401), 429, 429]);
  const blocked = await api.ask('GET', '/api/whoami', { token: bad });
  expect(blocked.body.code).toBe('auth.backoff');
  expect(Number(blocked.headers.get('retry-after'))).toBeGreaterThan(0);
  expect((await api.ask('GET', '/api/whoami')).status).toBe(200);
});

test('requests above the limit of a token are 429 with Retry-After, by token', async () => {
  const limited = await startTestApi({ config: { requestsPerMinute: 3 } });
  try {
    const second = await limited.newToken(['admin']);
    for (const id of ['1', '2', '3']) {
      expect((await limited.ask('POST', '/api/events', { json: anEvent(id) })).status).toBe(202);
    }
    const over = await limited.ask('POST', '/api/events', { json: anEvent('4') });
    expect([over.status, over.body.code]).toEqual([429, 'rate_limit.exceeded']);
    expect(Number(over.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await limited.ask('GET', '/api/whoami', { token: second })).status).toBe(200);
  } finally {
    await limited.stop();
  }
});

test('what a worker does under a lease is not counted, so that a limit loses none', async () => {
  const limited = await startTestApi({ config: { requestsPerMinute: 1 } });
  try {
    const enrolled = await enrolWorker(limited.db, { workerId: 'w1', poolId: 'default', actor: 'test' });
    const token = enrolled.plaintext.reveal();
    const own = '/api/workers/w1';
    expect((await limited.ask('GET', own, { token })).status).toBe(200);
    expect((await limited.ask('GET', own, { token })).status).toBe(429);
    const renewal = { json: {}, token, headers: { 'Lease-Token': 'none' } };
    const lease = `${own}/leases/${workloadIdFor('default', 'rss', 'none')}/renew`;
    for (let n = 0; n < 3; n += 1) expect((await limited.ask('POST', lease, renewal)).status).toBe(404);
  } finally {
    await limited.stop();
  }
});
