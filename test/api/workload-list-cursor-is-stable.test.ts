import { anEvent, DISPATCH_ALL, startTestApi, type Answer, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

const post = async (eventId: string, more: object = {}): Promise<string> =>
  (await api.ask('POST', '/api/events', { json: anEvent(eventId, more) })).body.workload_id;
const page = (query: string) => api.ask('GET', `/api/workloads?${query}`);

test('pages show each workload once, newest first, while others arrive and change', async () => {
  const events = Array.from({ length: 25 }, (_, index) => anEvent(`old-${index}`));
  const posted = (await api.ask('POST', '/api/events/batch', { json: { events } })).body.results.map(
    (r) => r.workload_id,
  );
  // All in one microsecond: only the id tells them apart.
  await api.db.query("UPDATE workloads SET accepted_at = '2026-01-01T00:00:00.000001Z' WHERE event_id < 'old-2'");
  const seen: string[] = [];
  let cursor: string | null = null;
  do {
    const { body }: Answer = await page(`limit=4${cursor ? `&cursor=${cursor}` : ''}`);
    seen.push(...body.workloads.map((each) => each.workload_id));
    cursor = body.next_cursor;
    const late = await post(`new-${seen.length}`);
    await api.admit(late);
    await api.admit(posted[seen.length % 25] as string);
  } while (cursor);
  expect(seen).toHaveLength(25);
  expect(new Set(seen)).toEqual(new Set(posted));
});

test('filters narrow, and go on over pages', async () => {
  await api.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
  const began = new Date().toISOString();
  for (const index of [1, 2, 3]) await api.admit(await post(`mail-${index}`, { source: 'mail', action: 'sort' }));
  await post('mail-4', { source: 'mail', action: 'sort' });
  const ids = async (query: string) => (await page(query)).body.workloads.map((each) => each.event_id);
  expect(await ids('source=mail')).toEqual(['mail-4', 'mail-3', 'mail-2', 'mail-1']);
  expect(await ids('source=mail&state=queued')).toEqual(['mail-3', 'mail-2', 'mail-1']);
  expect(await ids('rule=everything&action=sort')).toEqual(['mail-3', 'mail-2', 'mail-1']);
  expect(await ids(`since=${encodeURIComponent(began)}`)).toEqual(['mail-4', 'mail-3', 'mail-2', 'mail-1']);
  expect(await ids('since=2999-01-01T00:00:00Z')).toEqual([]);
  const first = (await page('state=queued&source=mail&limit=2')).body;
  const second = (await page(`state=queued&source=mail&limit=2&cursor=${first.next_cursor}`)).body;
  expect([...first.workloads, ...second.workloads].map((each) => each.event_id)).toEqual([
    'mail-3',
    'mail-2',
    'mail-1',
  ]);
  expect(second.next_cursor).toBeNull();
});

test('a cursor that was made up is refused', async () => {
  const forged = Buffer.from(JSON.stringify(['2026-99-99 00:00:00+00', `wl_${'a'.repeat(32)}`])).toString('base64url');
  const sql = Buffer.from(JSON.stringify(["'; DROP TABLE workloads", 'x'])).toString('base64url');
  for (const cursor of [forged, sql]) expect((await page(`cursor=${cursor}`)).status).toBe(422);
});
