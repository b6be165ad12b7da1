import { onceForKey } from '../../ledger/idempotency';
import { anEvent, DISPATCH_ALL, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await api.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
});
afterAll(() => api.stop());

async function queued(eventId: string): Promise<string> {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: anEvent(eventId) })).body;
  await api.admit(id);
  return id;
}
const act = (id: string, action: string, key: string, reason = 'because') =>
  api.ask('POST', `/api/workloads/${id}/${action}`, { json: { reason }, headers: { 'Idempotency-Key': key } });
const audits = async (id: string, type: string): Promise<number> =>
  (await api.db.query('SELECT 1 FROM audit WHERE workload_id = $1 AND type = $2', [id, type])).length;

test('the same key and body get the same answer, and the thing is done and woken once', async () => {
  const id = await queued('replayed');
  const first = await act(id, 'cancel', 'key-1');
  expect([first.status, first.body.state]).toEqual([200, 'cancelled']);
  const wakes = api.wakes.length;
  const second = await act(id, 'cancel', 'key-1');
  expect([second.status, second.text]).toEqual([200, first.text]);
  expect([first.headers.get('idempotent-replayed'), second.headers.get('idempotent-replayed')]).toEqual([null, 'true']);
  expect(api.wakes.length).toBe(wakes);
  expect(await audits(id, 'workload.cancelled')).toBe(1);
  const unkeyed = await api.ask('POST', `/api/workloads/${id}/cancel`, { json: { reason: 'because' } });
  expect(unkeyed.body.code).toBe('workload.state_conflict');
});

test('the key with another body or another workload is a conflict', async () => {
  const [one, two] = [await queued('conflict-1'), await queued('conflict-2')];
  await act(one, 'cancel', 'key-2');
  for (const answer of [await act(one, 'cancel', 'key-2', 'another reason'), await act(two, 'cancel', 'key-2')]) {
    expect([answer.status, answer.body.code]).toEqual([409, 'idempotency.conflict']);
  }
  expect((await api.ask('GET', `/api/workloads/${two}`)).body.state).toBe('queued');
});

test('30 at once with one key do it once and all get the one answer', async () => {
  const id = await queued('at-once');
  const answers = await Promise.all(Array.from({ length: 30 }, () => act(id, 'cancel', 'key-3')));
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
  expect(answers[0]!.status).toBe(200);
  expect(await audits(id, 'workload.cancelled')).toBe(1);
});

test('a refused request leaves no key, so it may be repeated when its time has come', async () => {
  const id = await queued('refused');
  expect((await act(id, 'redeliver', 'key-4')).body.code).toBe('workload.state_conflict');
  await act(id, 'cancel', 'key-5');
  expect((await act(id, 'redeliver', 'key-4')).body.state).toBe('queued');
});

test('work that dies in the middle leaves nothing, and the repeat does it', async () => {
  const request = { tenantId: 'default', route: 'test', key: 'crash', fingerprint: 'x' };
  const died = onceForKey(api.db, request, async (tx) => {
    await tx.query("INSERT INTO audit (type, actor) VALUES ('test.crash', 'test')");
    await tx.query('SELECT pg_terminate_backend(pg_backend_pid())');
    return { status: 200, answer: '"never"' };
  });
  await expect(died).rejects.toMatchObject({ code: 'ledger.unavailable' });
  expect(await api.db.query("SELECT 1 FROM audit WHERE type = 'test.crash'")).toEqual([]);
  const again = await onceForKey(api.db, request, () => Promise.resolve({ status: 200, answer: '"done"' }));
  expect(again).toEqual({ status: 200, answer: '"done"', replayed: false });
});

test('a key that is not printable is refused', async () => {
  const id = await queued('bad-key');
  expect((await act(id, 'cancel', 'x'.repeat(256))).status).toBe(422);
});
