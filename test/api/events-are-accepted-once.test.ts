import { workloadIdFor } from '../../domain/identity';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

const rowsOf = async (eventId: string): Promise<number> =>
  (await api.db.query('SELECT 1 FROM events WHERE event_id = $1', [eventId])).length;

test('a new event is 202 with the workload id that follows from its identity, and wakes once', async () => {
  const answer = await api.ask('POST', '/api/events', { json: anEvent('new') });
  const workloadId = workloadIdFor('default', 'rss', 'new');
  expect(answer.status).toBe(202);
  expect(answer.body).toEqual({
    workload_id: workloadId,
    state: 'accepted',
    duplicate: false,
    links: { self: `/api/workloads/${workloadId}` },
  });
  expect(answer.headers.get('location')).toBe(answer.body.links.self);
  expect(api.wakes.filter((wake) => wake.workload_id === workloadId)).toEqual([
    expect.objectContaining({ state: 'accepted', wake_seq: '1', wait_ms: null, closed: false, tenant_id: 'default' }),
  ]);
});

test('100 identical posts at once make one workload and one wake', async () => {
  const posts = Array.from({ length: 100 }, () =>
    api.ask('POST', '/api/events', { json: anEvent('storm', { data: { a: 1 } }) }),
  );
  const answers = await Promise.all(posts);
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
  expect(answers.filter(({ body }) => body.duplicate === false)).toHaveLength(1);
  expect(new Set(answers.map(({ body }) => body.workload_id)).size).toBe(1);
  expect(await rowsOf('storm')).toBe(1);
  expect(api.wakes.filter((wake) => wake.workload_id === answers[0]!.body.workload_id)).toHaveLength(1);
});

test('the same event in another key order is a duplicate; another body is a conflict that changes nothing', async () => {
  await api.ask('POST', '/api/events', {
    raw: '{"source":"rss","action":"triage","event_id":"order","data":{"a":1,"b":2}}',
  });
  const again = await api.ask('POST', '/api/events', {
    raw: '{ "data": {"b":2, "a":1}, "event_id":"order", "action":"triage", "source":"rss" }',
  });
  expect(again.body).toMatchObject({ duplicate: true });
  const other = await api.ask('POST', '/api/events', { json: anEvent('order', { data: { a: 1, b: 3 } }) });
  expect(other.status).toBe(409);
  expect(other.body).toMatchObject({ code: 'event.conflict', errors: [{ pointer: '/event_id' }] });
  const record = await api.ask('GET', again.body.links.self);
  expect(record.body.event.data).toEqual({ a: 1, b: 2 });
});

test('a batch answers each event on its own, in order', async () => {
  await api.ask('POST', '/api/events', { json: anEvent('taken', { data: { first: true } }) });
  const events = [
    anEvent('batch-1'),
    anEvent('a\0'),
    anEvent('taken', { data: { first: false } }),
    anEvent('batch-2', { surplus: 1 }),
    anEvent('batch-1'),
    'not an event',
  ];
  const answer = await api.ask('POST', '/api/events/batch', { json: { events } });
  expect(answer.status).toBe(200);
  expect(answer.body.results.map((result) => [result.status, result.duplicate ?? result.problem.code])).toEqual([
    [202, false],
    [422, 'request.invalid'],
    [409, 'event.conflict'],
    [400, 'request.unknown_field'],
    [202, true],
    [422, 'request.invalid'],
  ]);
  expect(answer.body.results[1]!.problem.errors).toEqual([{ pointer: '/event_id', detail: expect.any(String) }]);
  expect(await rowsOf('batch-1')).toBe(1);
  expect(await rowsOf('batch-2')).toBe(0);
});

test('overlapping batches in opposite order all get through', async () => {
  const events = Array.from({ length: 100 }, (_, index) => anEvent(`overlap-${index}`));
  const batches = Array.from({ length: 6 }, (_, index) => (index % 2 === 0 ? events : [...events].reverse()));
  const answers = await Promise.all(
    batches.map((batch) => api.ask('POST', '/api/events/batch', { json: { events: batch } })),
  );
  const results = answers.flatMap(({ body }) => body.results);
  expect(results.every(({ status }) => status === 202)).toBe(true);
  expect(results.filter(({ duplicate }) => !duplicate)).toHaveLength(100);
});

test('text that JSON allows in data comes back as it was', async () => {
  const data =
    '{"__proto__":{"polluted":true},"constructor":1,"":2,"nul":"a\\u0000b","lone":"\\ud800","sep":"\\u2028","deep":[[{"x":null}]]}';
  const posted = await api.ask('POST', '/api/events', {
    raw: `{"source":"rss","action":"triage","event_id":"faithful","data":${data}}`,
  });
  expect(posted.status).toBe(202);
  const record = await api.ask('GET', posted.body.links.self);
  expect(record.text).toContain('"__proto__":{"polluted":true}');
  const event = record.body.event.data as Record<string, unknown>;
  expect(Object.keys(event).sort()).toEqual(['', '__proto__', 'constructor', 'deep', 'lone', 'nul', 'sep']);
  expect([event.nul, event.lone, event.sep]).toEqual(['a\0b', '\ud800', '\u2028']);
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
});
