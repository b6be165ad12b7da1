import { MAX_STATE_KEYS } from '../../contracts/source-state';
import type { StateDocument, StateVersion } from '../../contracts/source-state';
import { startTestApi, type Answer, type Ask, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

const at = (key: string, source = 'rss') =>
  `/api/sources/${encodeURIComponent(source)}/state/${encodeURIComponent(key)}`;
const NEW = { 'If-None-Match': '*' };
const put = (key: string, value: unknown, headers: Record<string, string>, more: Ask = {}) =>
  api.ask('PUT', at(key), { json: { value }, headers, ...more });
const get = async (key: string) => (await api.ask('GET', at(key))) as Answer & { body: StateDocument };
const remove = (key: string, headers: Record<string, string> = { 'If-Match': '*' }) =>
  api.ask('DELETE', at(key), { headers });
const versions = async (key: string): Promise<StateVersion[]> =>
  ((await api.ask('GET', `${at(key)}/versions`)).body as unknown as { versions: StateVersion[] }).versions;
const outcome = ({ status, body }: Answer) => [status, body?.code];
const currentOf = ({ body }: Answer) => (body as unknown as { current_version: number | null }).current_version;

test('a key is created, read, changed and deleted, each under its condition', async () => {
  const created = await put('cursor', { page: 1 }, NEW);
  expect([created.status, created.headers.get('etag')]).toEqual([201, '"1"']);
  expect(created.body).toEqual({
    source: 'rss',
    key: 'cursor',
    version: 1,
    value: { page: 1 },
    updated_at: expect.any(String),
  });
  const changed = await put('cursor', ['any', { json: null }], { 'If-Match': '"1"' });
  expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"2"']);
  const read = await get('cursor');
  expect([read.headers.get('etag'), read.body.value]).toEqual(['"2"', ['any', { json: null }]]);
  const unchanged = await api.ask('GET', at('cursor'), { headers: { 'If-None-Match': '"2"' } });
  expect([unchanged.status, unchanged.text]).toEqual([304, '']);
  expect((await api.ask('GET', at('cursor'), { headers: { 'If-None-Match': '"1"' } })).status).toBe(200);
  const deleted = await remove('cursor', { 'If-Match': '"2"' });
  expect([deleted.status, deleted.text]).toEqual([204, '']);
  expect(outcome(await get('cursor'))).toEqual([404, 'not_found']);
  expect(outcome(await remove('cursor'))).toEqual([404, 'not_found']);
});

test('a lost race is 412, tells where the key is now and changes nothing', async () => {
  await put('race', 1, NEW);
  for (const headers of [{ 'If-Match': '"2"' }, NEW] as Record<string, string>[]) {
    const lost = await put('race', 2, headers);
    expect([...outcome(lost), currentOf(lost)]).toEqual([412, 'state.precondition_failed', 1]);
  }
  expect(outcome(await remove('race', { 'If-Match': '"2"' }))).toEqual([412, 'state.precondition_failed']);
  for (const match of ['"1"', '*']) {
    const absent = await put('never', 1, { 'If-Match': match });
    expect([...outcome(absent), currentOf(absent)]).toEqual([412, 'state.precondition_failed', null]);
  }
  expect((await get('race')).body).toMatchObject({ version: 1, value: 1 });
});

test('without a condition the last one wins; a condition that makes no sense is refused', async () => {
  const blind = [await put('blind', 1, {}), await put('blind', 2, {})];
  expect(blind.map(({ status, headers }) => [status, headers.get('etag')])).toEqual([
    [201, '"1"'],
    [200, '"2"'],
  ]);
  expect([(await remove('blind', {})).status, (await remove('blind', {})).status]).toEqual([204, 404]);
  for (const headers of [{ 'If-Match': 'W/"1"' }, { 'If-Match': '"x"' }, { 'If-None-Match': '"1"' }]) {
    expect(outcome(await put('blind', 1, headers as Record<string, string>))).toEqual([422, 'request.invalid']);
  }
  const unquoted = await put('blind', 1, { 'If-Match': 'version one' });
  expect(unquoted.body['errors']).toEqual([
    { pointer: '/headers/If-Match', detail: 'must be an ETag of this key, e.g. "3"' },
  ]);
  expect(outcome(await put('blind', 1, { 'If-Match': '"1"', ...NEW }))).toEqual([422, 'request.invalid']);
});

test('of 20 that write with the same condition at once exactly one gets through', async () => {
  const many = (headers: Record<string, string>) =>
    Promise.all(Array.from({ length: 20 }, (_, index) => put('storm', index, headers)));
  const creating = await many(NEW);
  expect(creating.map(({ status }) => status).sort()).toEqual([201, ...Array<number>(19).fill(412)]);
  const writing = await many({ 'If-Match': '"1"' });
  expect(writing.map(({ status }) => status).sort()).toEqual([200, ...Array<number>(19).fill(412)]);
  const winner = writing.findIndex(({ status }) => status === 200);
  expect((await get('storm')).body).toMatchObject({ version: 2, value: winner });
  expect((await versions('storm')).map((each) => each.version)).toEqual([2, 1]);
});

test('an ETag from before a deletion never fits a key that came anew', async () => {
  await put('reborn', 'old', NEW);
  await remove('reborn');
  const again = await put('reborn', 'new', NEW);
  expect([again.status, again.headers.get('etag')]).toEqual([201, '"3"']);
  expect((await put('reborn', 'stale', { 'If-Match': '"1"' })).status).toBe(412);
  expect((await versions('reborn')).map((each) => [each.version, each.deleted, each.value])).toEqual([
    [3, false, 'new'],
    [2, true, undefined],
    [1, false, 'old'],
  ]);
});

test('the last 20 versions are kept', async () => {
  await put('long', 1, NEW);
  for (let version = 1; version < 25; version += 1) await put('long', version + 1, { 'If-Match': `"${version}"` });
  const kept = await versions('long');
  expect(kept.map(({ version, value }) => [version, value])).toEqual(
    Array.from({ length: 20 }, (_, index) => [25 - index, 25 - index]),
  );
  expect(kept[0]).toMatchObject({ updated_by: expect.stringMatching(/^token:/), deleted: false });
  expect((await api.ask('GET', `${at('unheard')}/versions`)).status).toBe(404);
});

test('an Idempotency-Key gives the first answer again, though the key has moved on', async () => {
  const headers = { ...NEW, 'Idempotency-Key': 'once' };
  const first = await put('once', 'a', headers);
  await put('once', 'b', { 'If-Match': '"1"' });
  const second = await put('once', 'a', headers);
  expect([second.status, second.text, second.headers.get('etag')]).toEqual([201, first.text, '"1"']);
  expect(second.headers.get('idempotent-replayed')).toBe('true');
  expect(outcome(await put('once', 'c', headers))).toEqual([409, 'idempotency.conflict']);
  expect((await get('once')).body.value).toBe('b');
  const gone = { 'If-Match': '"2"', 'Idempotency-Key': 'gone' };
  expect([(await remove('once', gone)).status, (await remove('once', gone)).status]).toEqual([204, 204]);
});

test('keys are listed by prefix, in order, over pages, without values', async () => {
  for (const key of ['feed/b', 'feed/a', 'feed/ü', 'feedx', 'feed', 'feed/gone']) {
    await put(key, 'v'.repeat(10), NEW, { json: { value: 'vvv' } });
  }
  await remove('feed/gone');
  type Page = { states: { key: string; bytes: number; value?: unknown }[]; next_cursor: string | null };
  const page = async (query: string) =>
    (await api.ask('GET', `/api/sources/rss/state?${query}`)).body as unknown as Page;
  const first = await page('prefix=feed/&limit=2');
  expect(first.states.map((each) => each.key)).toEqual(['feed/a', 'feed/b']);
  expect([first.states[0]!.bytes, 'value' in first.states[0]!]).toEqual([5, false]);
  const second = await page(`prefix=feed/&limit=2&cursor=${first.next_cursor}`);
  expect([second.states.map((each) => each.key), second.next_cursor]).toEqual([['feed/ü'], null]);
  expect((await page('prefix=%25')).states).toEqual([]);
  expect((await api.ask('GET', '/api/sources/rss/state?cursor=AA')).status).toBe(422);
});

test('names are any printable text; others are named', async () => {
  const key = 'https://example.com/feed?x=1&y=%2F #é/../"';
  expect((await put(key, 1, NEW)).status).toBe(201);
  expect((await get(key)).body.key).toBe(key);
  for (const [source, name, pointer] of [
    ['x'.repeat(257), 'k', '/path/source'],
    ['rss', 'a\u0001b', '/path/key'],
    ['rss', ' ', '/path/key'],
  ] as const) {
    const answer = await api.ask('PUT', at(name, source), { json: { value: 1 }, headers: NEW });
    expect([...outcome(answer), answer.body.errors[0]!.pointer]).toEqual([422, 'request.invalid', pointer]);
  }
  expect(outcome(await put('a\0b', 1, NEW))).toEqual([404, 'not_found']);
});

test('values come back as they were; too large, too deep or unsafe ones are refused', async () => {
  const text = '{"__proto__":{"a":1},"nul":"\\u0000","lone":"\\ud800","n":-1.5e-7}';
  expect((await put('faithful', 0, NEW, { raw: `{"value":${text}}` })).status).toBe(201);
  expect((await api.ask('GET', at('faithful'))).text).toContain(`"value":${text.replace('-1.5e-7', '-1.5e-7')}`);
  expect((await put('large', 'x'.repeat(64 * 1024 - 2), NEW)).status).toBe(201);
  for (const json of [{ value: 'é'.repeat(32 * 1024) }, { value: 2 ** 60 }, {}, { value: 1, ttl: 3 }]) {
    expect((await put('refused', 0, NEW, { json })).body.errors[0]!.pointer).toMatch(/^\/(value|ttl)$/);
  }
  const deep = `{"value":${'['.repeat(66)}${']'.repeat(66)}}`;
  expect((await put('refused', 0, NEW, { raw: deep })).status).toBe(422);
  expect((await get('refused')).status).toBe(404);
});

test('the audit tells who changed what to which version, and no value; errors and logs tell none either', async () => {
  const secret = 'hunter2hunter2';
  await put('audited', { secret }, NEW);
  await put('audited', { secret }, { 'If-Match': '"9"' });
  await remove('audited');
  const rows = await api.db.query<{ actor: string; detail: object }>(
    "SELECT actor, detail FROM audit WHERE type = 'source_state.changed' AND detail->>'key' = 'audited' ORDER BY seq",
  );
  expect(rows).toEqual([
    { actor: expect.stringMatching(/^token:/), detail: { source: 'rss', key: 'audited', version: 1, deleted: false } },
    { actor: expect.stringMatching(/^token:/), detail: { source: 'rss', key: 'audited', version: 2, deleted: true } },
  ]);
  expect(api.log.join('')).not.toContain(secret);
});

test('a tenant has its own keys', async () => {
  const other = await api.newToken(['sources:write'], 'other');
  await put('mine', 1, NEW);
  for (const [method, path] of [
    ['GET', at('mine')],
    ['GET', `${at('mine')}/versions`],
    ['DELETE', at('mine')],
  ] as const) {
    expect((await api.ask(method, path, { token: other, headers: { 'If-Match': '*' } })).status).toBe(404);
  }
  expect((await put('mine', 2, NEW, { token: other })).status).toBe(201);
  expect((await get('mine')).body).toMatchObject({ version: 1, value: 1 });
});

test('a source has room for so many keys, also when they come at once', async () => {
  await api.db.query("INSERT INTO source_state_sources (tenant_id, source) VALUES ('default', 'full')");
  await api.db.query(
    `INSERT INTO source_states (tenant_id, source, key, version, deleted, bytes, updated_at, updated_by)
     SELECT 'default', 'full', 'k' || n, 1, n = 0, 1, now(), 'test' FROM generate_series(0, $1::int - 1) n`,
    [MAX_STATE_KEYS],
  );
  const answers = await Promise.all(
    ['a', 'b', 'k0'].map((key) => api.ask('PUT', at(key, 'full'), { json: { value: 1 }, headers: NEW })),
  );
  expect(answers.map(outcome).sort()).toEqual([
    [201, undefined],
    [409, 'state.too_many_keys'],
    [409, 'state.too_many_keys'],
  ]);
});
