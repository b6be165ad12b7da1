import { startTestApi, type Answer, type Ask, type TestApi } from '../support/api-server';

/** What the answers hold; each has some of it. */
interface Json {
  pools: { pool_id: string }[];
  pool: { pool_id: string };
  workers: { worker_id: string }[];
  worker: { worker_id: string };
  credential: { plaintext: string; credential: { credential_id: string } };
  next_cursor: string | null;
}

let api: TestApi;
let operator: string;
let admin: string;
let stranger: string;
beforeAll(async () => {
  api = await startTestApi();
  operator = await api.newToken(['operator']);
  admin = await api.newToken(['admin'], 'one');
  stranger = await api.newToken(['admin'], 'two');
  await post(operator, '/worker-pools', { pool_id: 'shared', name: 'Shared', mode: 'saas_operated', tenants: ['one'] });
  await post(admin, '/worker-pools', { pool_id: 'mine', name: 'Mine', mode: 'self_hosted' });
  await post(operator, '/workers', { worker_id: 'theirs', pool_id: 'shared', display_name: 'Theirs' });
  await post(admin, '/workers', { worker_id: 'w', pool_id: 'mine', display_name: 'W' });
});
afterAll(() => api.stop());

const call = async (token: string, method: string, path: string, ask: Ask = {}) => {
  const answer = await api.ask(method, `/api/admin${path}`, { token, ...ask });
  return { ...answer, json: answer.body as unknown as Json };
};
const get = (token: string, path: string) => call(token, 'GET', path);
const post = (token: string, path: string, json?: object, headers: Record<string, string> = {}) =>
  call(token, 'POST', path, { ...(json && { json }), headers });
const said = ({ status, body }: Answer): [number, string] => [status, body.code];

test('a tenant sees its own pools whole, of those that serve it summaries, and no others', async () => {
  const { json } = await get(admin, '/worker-pools');
  // The pool that each ledger begins with serves all.
  expect(json.pools).toMatchObject([
    { pool_id: 'default' },
    { pool_id: 'mine', tenant_id: 'one', mode: 'self_hosted', workers: { pending: 1 } },
    { pool_id: 'shared' },
  ]);
  const workers = { pending: 1 };
  expect(json.pools[2]).toEqual({ pool_id: 'shared', name: 'Shared', status: 'active', region: null, workers });
  const theirs = (await get(stranger, '/worker-pools')).json.pools;
  expect(theirs.map(({ pool_id }) => pool_id)).toEqual(['default']);
});

test("another tenant's things are not there, and operators' are not to be changed", async () => {
  const change = { name: 'x' };
  expect(said(await post(stranger, '/worker-pools/mine/update', change))).toEqual([404, 'not_found']);
  expect(said(await post(stranger, '/worker-pools/shared/update', change))).toEqual([404, 'not_found']);
  expect(said(await post(admin, '/worker-pools/shared/update', change))).toEqual([403, 'auth.scope_required']);
  const intruder = { pool_id: 'shared', display_name: 'x' };
  expect(said(await post(admin, '/workers', intruder))).toEqual([403, 'auth.scope_required']);
  expect(said(await post(stranger, '/workers', intruder))).toEqual([404, 'not_found']);
  const asks = ['', '/credentials', '/heartbeats'].map((path) => get(stranger, `/workers/w${path}`));
  const orders = ['/activate', '/revoke', '/credentials', '/credentials/x/rotate', '/credentials/x/revoke'];
  for (const answer of await Promise.all([
    ...asks,
    ...orders.map((path) => post(stranger, `/workers/w${path}`)),
    get(admin, '/workers/theirs'),
    post(admin, '/workers/theirs/activate'),
  ])) {
    expect(said(answer)).toEqual([404, 'not_found']);
  }
  expect((await get(stranger, '/workers')).json.workers).toEqual([]);
  const taken = await post(stranger, '/worker-pools', { pool_id: 'mine', name: 'x', mode: 'self_hosted' });
  expect(said(taken)).toEqual([409, 'pool.exists']);
  const own = await post(stranger, '/worker-pools', { name: 'x', mode: 'self_hosted' });
  const { pool_id } = own.json.pool;
  const same = await post(stranger, '/workers', { worker_id: 'w', pool_id, display_name: 'x' });
  expect([said(same), same.text.includes('mine')]).toEqual([[409, 'worker.exists'], false]);
});

test('a worker is registered, given a credential, activated, drained and revoked', async () => {
  const made = await post(operator, '/workers', {
    pool_id: 'shared',
    display_name: 'New',
    capabilities: { flags: ['gpu'] },
  });
  const worker = made.json.worker;
  expect([made.status, worker]).toMatchObject([
    201,
    { status: 'pending', tenant_id: null, capabilities: { flags: ['gpu'] } },
  ]);
  const at = `/workers/${worker.worker_id}`;
  const issued = (await post(operator, `${at}/credentials`)).json.credential;
  const token = issued.plaintext;
  const self = () => api.ask('GET', `/api/workers/${worker.worker_id}`, { token });
  expect((await self()).status).toBe(200);
  expect((await get(operator, `${at}/heartbeats`)).json).toEqual({ heartbeats: [] });
  for (const [order, status] of [
    ['activate', 'active'],
    ['drain', 'draining'],
    ['resume', 'active'],
    ['resume', 'active'],
  ] as const) {
    expect((await post(operator, `${at}/${order}`, { reason: 'test' })).json).toMatchObject({ worker: { status } });
  }
  const { json } = await get(operator, `${at}/credentials`);
  expect(json).toMatchObject({ credentials: [{ last4: token.slice(-4), revoked_at: null }] });
  expect(JSON.stringify(json)).not.toContain(token.split('_')[2]!.slice(0, 20));
  expect((await post(operator, `${at}/revoke`)).json).toMatchObject({ worker: { status: 'revoked' } });
  expect(said(await post(operator, `${at}/activate`))).toEqual([409, 'worker.state_conflict']);
  expect((await self()).status).toBe(401);
});

test('with its key a credential is issued once, and the secret is not kept', async () => {
  const key = { 'Idempotency-Key': 'once' };
  const first = await post(admin, '/workers/w/credentials', {}, key);
  const again = await post(admin, '/workers/w/credentials', {}, key);
  const { plaintext, credential } = first.json.credential;
  expect(plaintext).toMatch(/^oww_/);
  expect([again.status, again.headers.get('idempotent-replayed'), again.json]).toEqual([
    201,
    'true',
    { credential: { credential, plaintext: null } },
  ]);
  const [kept] = await api.db.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM idempotency_keys WHERE answer LIKE '%' || $1 || '%'",
    [plaintext.split('_')[2]],
  );
  expect(kept!.n).toBe(0);
  expect(api.log.join('\n')).not.toContain(plaintext.split('_')[2]);
});

test('lists come in pages and by filter', async () => {
  for (const id of ['p1', 'p2', 'p3']) {
    await post(admin, '/workers', { worker_id: id, pool_id: 'mine', display_name: id });
  }
  const seen: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const { json } = await get(admin, `/workers?limit=2&pool_id=mine&status=pending${cursor && `&cursor=${cursor}`}`);
    seen.push(...json.workers.map(({ worker_id }) => worker_id));
    cursor = json.next_cursor;
  }
  expect(seen).toEqual(['p1', 'p2', 'p3', 'w']);
  expect((await get(admin, '/workers?status=revoked')).json.workers).toEqual([]);
});

const POOL = { name: 'x', mode: 'self_hosted' };
const WORKER = { pool_id: 'mine', display_name: 'x' };
const BAD: [string, string, object, number, string, string][] = [
  [
    'a pool hosted by customers',
    '/worker-pools',
    { ...POOL, mode: 'customer_hosted' },
    422,
    'request.invalid',
    '/mode',
  ],
  ['a hybrid pool', '/worker-pools', { ...POOL, mode: 'hybrid' }, 422, 'request.invalid', '/mode'],
  ['a pool for other tenants', '/worker-pools', { ...POOL, tenants: ['two'] }, 403, 'auth.scope_required', '/tenants'],
  [
    'capabilities of 17 KiB',
    '/worker-pools',
    { ...POOL, capabilities: { x: 'y'.repeat(17_000) } },
    422,
    'request.invalid',
    '/capabilities',
  ],
  [
    'a capability with NUL',
    '/workers',
    { ...WORKER, capabilities: { a: ['\0'] } },
    422,
    'request.invalid',
    '/capabilities',
  ],
  [
    'flags that are no list',
    '/workers',
    { ...WORKER, capabilities: { flags: 1 } },
    422,
    'request.invalid',
    '/capabilities/flags',
  ],
  ['less than no workers', '/worker-pools', { ...POOL, max_workers: -1 }, 422, 'request.invalid', '/max_workers'],
  [
    'activation of what others operate',
    '/worker-pools',
    { name: 'x', mode: 'saas_operated', auto_activate: true },
    422,
    'request.invalid',
    '/auto_activate',
  ],
  ['another mode', '/worker-pools/mine/update', { mode: 'saas_operated' }, 422, 'request.invalid', '/mode'],
  ['a status for a worker', '/workers', { ...WORKER, status: 'active' }, 400, 'request.unknown_field', '/status'],
  ['a pool id with NUL', '/workers', { ...WORKER, pool_id: 'a\0' }, 422, 'request.invalid', '/pool_id'],
  [
    'a time that is past',
    '/workers/w/credentials',
    { expires_at: '2020-01-01T00:00:00Z' },
    422,
    'request.invalid',
    '/expires_at',
  ],
  [
    'a time far ahead',
    '/workers/w/credentials',
    { expires_at: '2999-01-01T00:00:00Z' },
    422,
    'request.invalid',
    '/expires_at',
  ],
  ['an unknown scope', '/workers/w/credentials', { scopes: ['admin'] }, 422, 'request.invalid', '/scopes/0'],
  ['an overlap of a month', '/workers/w/credentials/x/rotate', { overlap: '30d' }, 422, 'request.invalid', '/overlap'],
];
test.each(BAD)('%s is refused', async (_name, path, json, status, code, pointer) => {
  const answer = await post(admin, path, json);
  expect([...said(answer), answer.body.errors.map((error) => error.pointer)]).toEqual([status, code, [pointer]]);
});

test('unknown, expired, revoked and mistyped credentials, and those of a retired worker, are told apart by nobody', async () => {
  const issue = async (id: string) => {
    const { json } = await post(admin, `/workers/${id}/credentials`);
    return json.credential;
  };
  const [expired, revoked, live, retired] = [await issue('w'), await issue('w'), await issue('w'), await issue('p1')];
  await api.db.query('UPDATE worker_credentials SET expires_at = clock_timestamp() WHERE credential_id = $1', [
    expired.credential.credential_id,
  ]);
  await post(admin, `/workers/w/credentials/${revoked.credential.credential_id}/revoke`);
  await post(admin, '/workers/p1/activate');
  await post(admin, '/workers/p1/retire');
  const shut = [
    `oww_${'0'.repeat(16)}_${'A'.repeat(43)}`,
    expired.plaintext,
    revoked.plaintext,
    `${live.plaintext.slice(0, 21)}${'A'.repeat(43)}`,
    retired.plaintext,
  ];
  const shown = async (token: string): Promise<string> => {
    const { status, headers, body } = await api.ask('GET', '/api/workers/w', { token });
    const kept = [...headers].filter(([name]) => !/^(date|x-request-id)$/.test(name));
    return JSON.stringify([status, kept, { ...body, request_id: '' }]);
  };
  for (const wanted of [401, 429]) {
    const answers = [];
    for (const token of shut) answers.push(await shown(token));
    expect(new Set(answers.map((answer) => answer.replace(/("retry-after",)"\d+"/, '$1"n"'))).size).toBe(1);
    expect(answers[0]).toContain(`[${wanted},`);
    for (const token of shut) for (let n = 0; n < 19; n += 1) await api.ask('GET', '/api/workers/w', { token });
  }
  expect((await api.ask('GET', '/api/workers/w', { token: live.plaintext })).status).toBe(200);
});
