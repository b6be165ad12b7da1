import { anEvent, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

const STRUCTURED = { 'content-type': 'application/cloudevents+json; charset=utf-8' };
const BATCH = { 'content-type': 'application/cloudevents-batch+json' };
const cloudEvent = (id: string, more: object = {}) => ({
  specversion: '1.0',
  id,
  source: 'rss',
  type: 'triage',
  ...more,
});
const headersOf = (id: string, more: Record<string, string> = {}) => ({
  'ce-specversion': '1.0',
  'ce-id': id,
  'ce-source': 'rss',
  'ce-type': 'triage',
  ...more,
});
const post = (json: unknown, headers: Record<string, string>) => api.ask('POST', '/api/events', { json, headers });
const isThere = async (eventId: string): Promise<boolean> =>
  (await api.db.query('SELECT 1 FROM events WHERE event_id = $1', [eventId])).length === 1;

test('one event in all three modes and as our own JSON is one workload', async () => {
  const data = { category: 'Security' };
  const first = await post(cloudEvent('same', { data, traceparent: 'a' }), STRUCTURED);
  expect([first.status, first.body.duplicate]).toEqual([202, false]);
  expect(first.headers.get('location')).toBe(first.body.links.self);
  const binary = await post(data, headersOf('same', { 'ce-traceparent': 'b' }));
  const own = await post(anEvent('same', { data }), {});
  const batch = await post([cloudEvent('same', { data })], BATCH);
  for (const { workload_id, duplicate } of [binary.body, own.body, batch.body.results[0]!]) {
    expect([workload_id, duplicate]).toEqual([first.body.workload_id, true]);
  }
  const record = await api.ask('GET', first.body.links.self);
  expect(record.body.event).toMatchObject({ data, attributes: { traceparent: 'a' } });
  const other = await post(cloudEvent('same', { data: { category: 'Games' } }), STRUCTURED);
  expect([other.status, other.body.code]).toEqual([409, 'event.conflict']);
});

test('policy reads the attributes', async () => {
  const source = `version: 1
default: { decision: ignore }
rules:
  - { id: eu, when: 'event.attributes.?region.orValue("") == "eu"', decision: dispatch }
`;
  expect((await api.ask('PUT', '/api/policy', { json: { source } })).status).toBe(200);
  const eu = (await post({ a: 1 }, headersOf('eu', { 'ce-region': 'eu' }))).body.workload_id;
  const none = (await post({ a: 1 }, headersOf('none'))).body.workload_id;
  expect([(await api.admit(eu))?.state, (await api.admit(none))?.state]).toEqual(['queued', 'ignored']);
});

test('bodies of any type are taken in binary mode', async () => {
  const text = await api.ask('POST', '/api/events', {
    raw: 'hi',
    headers: headersOf('text', { 'content-type': 'text/plain' }),
  });
  expect(text.status).toBe(202);
  expect((await api.ask('GET', text.body.links.self)).body.event).toMatchObject({
    data: { text: 'hi' },
    attributes: { datacontenttype: 'text/plain' },
  });
  const bare = await api.ask('POST', '/api/events', { headers: headersOf('bare') });
  expect(bare.status).toBe(202);
});

test('a batch is accepted as a whole or not at all', async () => {
  const wrong = await post([cloudEvent('b1'), cloudEvent('b2', { type: '' })], BATCH);
  expect([wrong.status, wrong.body.errors[0]!.pointer, await isThere('b1')]).toEqual([422, '/1/type', false]);
  await post(cloudEvent('taken', { data: { a: 1 } }), STRUCTURED);
  const conflict = await post([cloudEvent('b1'), cloudEvent('taken', { data: { a: 2 } })], BATCH);
  expect([conflict.status, conflict.body.code, conflict.body.errors[0]!.pointer]).toEqual([
    409,
    'event.conflict',
    '/1/event_id',
  ]);
  expect(await isThere('b1')).toBe(false);
  const wakes = api.wakes.length;
  const good = await post([cloudEvent('b1'), cloudEvent('b2'), cloudEvent('b1')], BATCH);
  expect(good.body.results.map(({ status, duplicate }) => [status, duplicate])).toEqual([
    [202, false],
    [202, false],
    [202, true],
  ]);
  expect(api.wakes.length - wakes).toBe(2);
  expect((await post([], BATCH)).body.results).toEqual([]);
});

test('posted to the batch route each CloudEvent is answered on its own', async () => {
  const json = [cloudEvent('own-1'), cloudEvent('own-2', { time: 'noon' }), 'none'];
  const { status, body } = await api.ask('POST', '/api/events/batch', { json, headers: BATCH });
  expect([status, body.results.map((each) => each.status), await isThere('own-1')]).toEqual([
    200,
    [202, 422, 422],
    true,
  ]);
  expect(body.results[1]!.problem.errors[0]!.pointer).toBe('/time');
});

test('what is too large or compressed is refused before anything is read of it', async () => {
  const large = await api.ask('POST', '/api/events', { raw: 'x'.repeat(257 * 1024), headers: headersOf('large') });
  expect([large.status, large.body.code]).toEqual([413, 'request.too_large']);
  const packed = await post({}, headersOf('packed', { 'content-encoding': 'gzip' }));
  expect(packed.status).toBe(415);
});
