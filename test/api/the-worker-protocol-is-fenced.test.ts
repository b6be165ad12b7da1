import { enrolWorker } from '../../ledger/enrol-worker';
import { anEvent, DISPATCH_ALL, startTestApi, type Answer, type TestApi } from '../support/api-server';

let api: TestApi;
let first: string;
let second: string;
beforeAll(async () => {
  api = await startTestApi();
  await api.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
  first = await enrolled('w1');
  second = await enrolled('w2');
});
afterAll(() => api.stop());

const enrolled = async (workerId: string): Promise<string> =>
  (
    await enrolWorker(api.db, { workerId, poolId: 'default', maxOpenDeliveries: 100, actor: 'test' })
  ).plaintext.reveal();
const post = (path: string, json: object, token = first, lease?: string): Promise<Answer> =>
  api.ask('POST', `/api/workers/${token === first ? 'w1' : 'w2'}/${path}`, {
    token,
    json,
    headers: lease === undefined ? {} : { 'Lease-Token': lease },
  });
async function queued(eventId: string): Promise<string> {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: anEvent(eventId, { data: { a: 1 } }) }))
    .body;
  await api.admit(id);
  return id;
}
const leaseOf = ({ text }: Answer): string => (JSON.parse(text) as { lease_token: string }).lease_token;
const INTENT = { intent_key: 'k'.repeat(32) };

test('a delivery goes from claim to its end, and the record tells it', async () => {
  const id = await queued('whole');
  const claimed = await post('claims', { work_id: id });
  expect(claimed.status).toBe(201);
  expect(claimed.body).toMatchObject({
    work_id: id,
    tenant_id: 'default',
    epoch: 1,
    executor: 'opencrow',
    delivery_number: 1,
    delivery_id: id,
    event: { event_id: 'whole', data: { a: 1 } },
    trigger: { prompt: null, include: [], response_policy: null },
  });
  const lease = leaseOf(claimed);
  const intent = await post(`leases/${id}/intent`, INTENT, first, lease);
  expect([intent.status, intent.body]).toMatchObject([200, { delivery_number: 1, delivery_id: id }]);
  const complete = await post(`leases/${id}/complete`, { write: 'written' }, first, lease);
  expect([complete.status, complete.body.state]).toEqual([200, 'delivered']);

  const report = (status: string, at: string) => ({
    event_id: `e-${status}`,
    delivery_id: id,
    status,
    occurred_at: at,
  });
  const wakes = api.wakes.length;
  const lifecycle = await post('lifecycle', {
    records: [report('running', '2026-01-01T00:00:00Z'), report('completed', '2026-01-01T00:01:00Z')],
  });
  expect(lifecycle.body.results).toEqual([
    { effect: 'applied', state: 'running' },
    { effect: 'applied', state: 'completed' },
  ]);
  expect(api.wakes.slice(wakes).map(({ state, closed }) => [state, closed])).toEqual([
    ['running', false],
    ['completed', true],
  ]);

  const record = (await api.ask('GET', `/api/workloads/${id}`)).body;
  expect(record).toMatchObject({
    state: 'completed',
    closed: true,
    deadline: null,
    decision: { decision: 'dispatch', rule_id: 'everything', policy_version: 1, duplicate_of: null },
    deliveries: [{ number: 1, delivery_id: id, worker_id: 'w1', write: 'written', status: 'completed', epoch: 1 }],
    lifecycle: [
      { status: 'running', effect: 'applied', error: null },
      { status: 'completed', effect: 'applied' },
    ],
  });
  expect(record.timeline.map(({ type }) => type)).toEqual([
    'event.accepted',
    'workload.queued',
    'lease.claimed',
    'workload.delivered',
    'delivery.written',
    'workload.running',
    'workload.completed',
    'lease.completed',
  ]);
});

test('without a lease token it is 400; with a stale or foreign one 409, and the audit has it', async () => {
  const id = await queued('fenced');
  const old = leaseOf(await post('claims', { work_id: id }));
  const current = leaseOf(await post('claims', { work_id: id }));
  const missing = await post(`leases/${id}/intent`, INTENT);
  expect([missing.status, missing.body.code]).toEqual([400, 'lease.token_required']);
  for (const answer of [
    await post(`leases/${id}/intent`, INTENT, first, old),
    await post(`leases/${id}/intent`, INTENT, second, current),
    await post(`leases/${id}/release`, { reason: 'ENXIO' }, first, 'made-up'),
  ]) {
    expect([answer.status, answer.body.code]).toEqual([409, 'lease.stale']);
  }
  const rows = await api.db.query(
    "SELECT 1 FROM audit WHERE workload_id = $1 AND type = 'lease.stale_write_rejected'",
    [id],
  );
  expect(rows).toHaveLength(3);
  expect((await post(`leases/${id}/intent`, INTENT, first, current)).status).toBe(200);
});

test('another worker waits with Retry-After while the lease is held, and is told when nothing is needed', async () => {
  const id = await queued('held');
  const lease = leaseOf(await post('claims', { work_id: id }));
  const held = await post('claims', { work_id: id }, second);
  expect([held.status, held.body.code]).toEqual([409, 'lease.held']);
  expect(Number(held.headers.get('retry-after'))).toBeGreaterThan(0);
  await post(`leases/${id}/fail`, { code: 'line_too_long', retryable: false }, first, lease);
  const done = await post('claims', { work_id: id }, second);
  expect([done.status, done.body.code, done.body.state]).toEqual([409, 'workload.not_needed', 'refused']);
});

test('what cannot be a workload is not found, and what cannot be stored is refused', async () => {
  expect((await post('claims', { work_id: 'a\0b' })).body.code).toBe('not_found');
  for (const [path, json] of [
    ['heartbeat', { version: 'a\0' }],
    ['lifecycle', { records: [{ event_id: 'a\0', delivery_id: 'x', status: 'running', occurred_at: 'x' }] }],
    ['lifecycle', { records: [{ event_id: 'a\ud800', delivery_id: 'x', status: 'running', occurred_at: 'x' }] }],
    [
      'lifecycle',
      { records: [{ event_id: 'a', delivery_id: 'x', status: 'running', occurred_at: 'x', attempt: 2 ** 40 }] },
    ],
  ] as const) {
    expect((await post(path, json)).body.code).toBe('request.invalid');
  }
});

test('a heartbeat tells the state, and an operator sees the worker', async () => {
  const answer = await post('heartbeat', { version: '1.2.3', current_load: 1, active_work_ids: [], sequence: 1 });
  expect(answer.body).toEqual({
    worker: {
      worker_id: 'w1',
      pool_id: 'default',
      status: 'active',
      max_open_deliveries: 100,
      duty: 'work',
      open_work: expect.any(Number),
      heartbeat_every_ms: 15_000,
    },
  });
  const operator = await api.newToken(['operator']);
  const { text } = await api.ask('GET', '/api/admin/workers', { token: operator });
  expect(JSON.parse(text)).toMatchObject({
    workers: [{ worker_id: 'w1', version: '1.2.3', suspect_since: null }, { worker_id: 'w2' }],
  });
  await api.db.query(
    "UPDATE workers SET suspect_since = clock_timestamp(), suspect_backoff_ms = 1 WHERE worker_id = 'w2'",
  );
  const clear = (id: string) =>
    api.ask('POST', `/api/admin/workers/${id}/clear-suspect`, { token: operator, json: { reason: 'restarted' } });
  expect(JSON.parse((await clear('w2')).text)).toMatchObject({ cleared: true, worker: { suspect_since: null } });
  expect(JSON.parse((await clear('w2')).text)).toMatchObject({ cleared: false, freed_slots: 0 });
  expect((await clear('w9')).status).toBe(404);
});
