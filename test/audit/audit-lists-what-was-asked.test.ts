import type { AuditEntry } from '../../contracts/audit';
import { beginSealPass, sealBatch } from '../../ledger/audit-seal';
import { anEvent, DISPATCH_ALL, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
const workloads: string[] = [];
beforeAll(async () => {
  api = await startTestApi();
  await api.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
  for (const source of ['rss', 'rss', 'mail']) {
    const posted = await api.ask('POST', '/api/events', { json: anEvent(`e${workloads.length}`, { source }) });
    await api.admit(posted.body.workload_id);
    workloads.push(posted.body.workload_id);
  }
  await api.ask('POST', `/api/workloads/${workloads[2]}/cancel`, { json: { reason: 'no' } });
});
afterAll(() => api.stop());

interface Page {
  entries: AuditEntry[];
  next_cursor: string | null;
}
const page = async (query: string, token = api.token) => {
  const answer = await api.ask('GET', `/api/audit?${query}`, { token });
  return {
    status: answer.status,
    body: answer.body as unknown as Page,
    errors: answer.body.errors,
    code: answer.body.code,
  };
};
const types = async (query: string) => (await page(query)).body.entries.map((entry) => entry.type);

test('each filter narrows to what it names', async () => {
  expect(await types(`workload=${workloads[0]}`)).toEqual(['workload.queued', 'event.accepted']);
  expect(await types(`workload=${workloads[0]}&order=oldest`)).toEqual(['event.accepted', 'workload.queued']);
  expect(await types('type=workload.cancelled')).toEqual(['workload.cancelled']);
  expect(new Set(await types('type=workload.'))).toEqual(new Set(['workload.queued', 'workload.cancelled']));
  expect(await types('type=workload')).toEqual([]);
  expect(await types('actor=policy')).toHaveLength(3);
  expect(await types('source=mail')).toEqual(['workload.cancelled', 'workload.queued', 'event.accepted']);
  expect(await types('source=mail&type=event.')).toEqual(['event.accepted']);
  expect(await types('rule=everything')).toHaveLength(7);
  expect(await types('rule=another')).toEqual([]);
  expect(await types('outcome=cancelled')).toHaveLength(3);
  const { entries } = (await page('order=oldest')).body;
  const middle = entries[3]!.at;
  const asked = encodeURIComponent(middle);
  expect((await page(`since=${asked}&order=oldest`)).body.entries).toEqual(entries.filter((each) => each.at >= middle));
  expect((await page(`until=${asked}&order=oldest`)).body.entries).toEqual(entries.filter((each) => each.at < middle));
  expect((await page('since=9999-12-31T23:59:59-10:00')).status).toBe(422);
  expect((await page('since=2026-01-01T00:00:00%2B23:59')).status).toBe(200);
});

test('pages show each row once, in both orders, while others are written', async () => {
  for (const order of ['newest', 'oldest']) {
    const whole = (await page(`order=${order}&limit=500`)).body.entries.map(({ seq }) => seq);
    const seen: number[] = [];
    let cursor: string | null = null;
    do {
      const { body }: { body: Page } = await page(`order=${order}&limit=3${cursor ? `&cursor=${cursor}` : ''}`);
      seen.push(...body.entries.map(({ seq }) => seq));
      cursor = body.next_cursor;
      if (order === 'newest') await api.ask('POST', '/api/events', { json: anEvent(`late-${seen.length}`) });
    } while (cursor);
    expect(seen).toEqual(whole);
  }
});

test('a cursor of another filter, order or tenant, or one that was made up, is refused', async () => {
  const { next_cursor: cursor } = (await page('limit=1')).body;
  expect((await page(`limit=2&cursor=${cursor}`)).status).toBe(200);
  const foreign = await api.newToken(['audit:read'], 'other');
  for (const refused of [
    await page(`limit=1&order=oldest&cursor=${cursor}`),
    await page(`limit=1&type=workload.&cursor=${cursor}`),
    await page(`limit=1&cursor=${cursor}`, foreign),
  ]) {
    expect(refused).toMatchObject({
      status: 422,
      errors: [{ pointer: '/query/cursor', detail: 'belongs to another filter' }],
    });
  }
  const [, , own] = JSON.parse(Buffer.from(cursor!, 'base64url').toString()) as [string, string, string];
  for (const day of ['2026-99-99', '2026-02-30']) {
    const made = Buffer.from(JSON.stringify([`${day}T00:00:00.000000Z`, '1', own])).toString('base64url');
    expect([day, (await page(`limit=1&cursor=${made}`)).status]).toEqual([day, 422]);
  }
});

test('a row says whether it is sealed, and where', async () => {
  expect((await page('limit=1')).body.entries[0]!.sealed).toBeNull();
  await sealBatch(api.db, await beginSealPass(api.db), 1000);
  const { entries } = (await page('limit=500&order=oldest')).body;
  const places = entries.map(({ sealed }) => sealed!.position).sort((a, b) => a - b);
  expect(places).toEqual(entries.map((_, index) => index + 1));
  expect(entries[0]!.sealed!.hash).toMatch(/^[0-9a-f]{64}$/);
});

test('only audit:read opens it, for its own tenant, and rows of no tenant need operator', async () => {
  const connector = await api.newToken(['events:write', 'workloads:read', 'workloads:write', 'sources:write']);
  expect(await page('', connector)).toMatchObject({ status: 403, code: 'auth.scope_required' });
  const foreign = await api.newToken(['audit:read'], 'foreign');
  expect((await page('', foreign)).body.entries.map(({ type }) => type)).toEqual(['token.created']);
  expect((await page(`workload=${workloads[0]}`, foreign)).body.entries).toEqual([]);
  expect((await page('source=rss', foreign)).body.entries).toEqual([]);
  expect((await page('chain=service')).status).toBe(403);
  const operator = await api.newToken(['operator']);
  expect((await page('chain=service', operator)).status).toBe(200);
});
