import { enrolWorker } from '../../ledger/enrol-worker';
import { createToken } from '../../ledger/tokens';
import { anEvent, startTestApi, type Answer, type TestApi } from '../support/api-server';
import { policyText } from '../support/policy';

let api: TestApi;
const bearers: Record<string, string> = {};
beforeAll(async () => {
  api = await startTestApi();
  const source = policyText(
    '{ id: work, when: "true", decision: dispatch, to: { executor: managed }, trigger: { prompt: go, include: [n] } }',
  );
  await api.ask('PUT', '/api/policy', { json: { source } });
  for (const workerId of ['w1', 'w2']) {
    const enrolled = await enrolWorker(api.db, { workerId, poolId: 'default', maxOpenDeliveries: 100, actor: 'test' });
    bearers[workerId] = enrolled.plaintext.reveal();
  }
});
afterAll(() => api.stop());

interface Held {
  id: string;
  token: string;
}
const post = (path: string, json: object, lease?: string, { as = 'w1', bearer = '' } = {}): Promise<Answer> =>
  api.ask('POST', `/api/workers/${as}/${path}`, {
    token: bearer || bearers[as]!,
    json,
    headers: lease === undefined ? {} : { 'Lease-Token': lease },
  });
const write = ({ id, token }: Held, kind: string, json: object): Promise<Answer> =>
  post(`work/${id}/${kind}`, json, token);
async function held(eventId: string): Promise<Held> {
  const { body } = await api.ask('POST', '/api/events', { json: anEvent(eventId, { data: { n: 1, m: 2 } }) });
  const id = (body as { workload_id: string }).workload_id;
  await api.admit(id);
  const claimed = await post('claims', { work_id: id });
  const token = (JSON.parse(claimed.text) as { lease_token: string }).lease_token;
  await post(`leases/${id}/intent`, { intent_key: 'k'.repeat(32) }, token);
  return { id, token };
}
const event = (n: number, fields: object = {}): object => ({
  event_id: `e-${n}`,
  sequence: n,
  type: 'step.done',
  payload: { n },
  ...fields,
});
const record = async (id: string): Promise<Answer['body']> => (await api.ask('GET', `/api/workloads/${id}`)).body;

const BODIES: Record<string, object> = {
  events: { events: [event(1)] },
  'run-status': { status: 'running' },
  'command-status': { command_id: 'c', sequence: 1, status: 'pending' },
};

test('managed work is told from its beginning to its end', async () => {
  const work = await held('whole');
  const wakes = api.wakes.length;
  expect(await write(work, 'run-status', { status: 'running' })).toMatchObject({
    status: 200,
    body: { state: 'running' },
  });
  expect(await write(work, 'command-status', { command_id: 'c2', sequence: 2, status: 'acked' })).toMatchObject({
    status: 200,
    body: { command_id: 'c2', status: 'acked', code: null },
  });
  await write(work, 'command-status', { command_id: 'c1', sequence: 1, status: 'failed', code: 'no_tool' });
  const end = { status: 'completed', code: 'ok', summary: 'three done' };
  const ended = await write(work, 'run-status', end);
  expect(ended).toMatchObject({ status: 200, body: { state: 'completed', wait_ms: null } });
  expect(await write(work, 'run-status', end)).toMatchObject({ status: 200, body: ended.body });
  expect(await write(work, 'run-status', { status: 'failed' })).toMatchObject({
    status: 409,
    body: { code: 'workload.state_conflict', kept_status: 'completed' },
  });
  expect(api.wakes.length).toBe(wakes + 2);
  expect(await record(work.id)).toMatchObject({
    state: 'completed',
    reason: 'run_completed',
    commands: [
      { command_id: 'c1', sequence: 1, status: 'failed', code: 'no_tool' },
      { command_id: 'c2', sequence: 2, status: 'acked', code: null },
    ],
    deliveries: [{ run: end }],
  });
});

test('events are read in pages, by their own tenant', async () => {
  const work = await held('paged');
  const written = await write(work, 'events', { events: [event(1), event(3), event(7, { payload: [null, 'x'] })] });
  expect(written.status).toBe(200);
  expect(
    await write(work, 'events', { events: [event(1), event(3), event(7, { payload: [null, 'x'] })] }),
  ).toMatchObject({
    status: 200,
    body: written.body,
  });
  const path = `/api/workloads/${work.id}/events`;
  const page = await api.ask('GET', `${path}?limit=2`);
  expect(page.body).toMatchObject({
    events: [{ sequence: 1, payload: { n: 1 }, delivery: 1 }, { sequence: 3 }],
    next_after: 3,
  });
  const rest = await api.ask('GET', `${path}?after=3&limit=2`);
  expect(rest.body).toMatchObject({ events: [{ event_id: 'e-7', payload: [null, 'x'] }], next_after: null });
  expect((await api.ask('GET', `${path}?after=7`)).body).toEqual({ events: [], next_after: null });

  await api.db.query("INSERT INTO tenants (tenant_id) VALUES ('other')");
  const made = await createToken(api.db, {
    tenantId: 'other',
    name: 'reader',
    scopes: ['workloads:read'],
    actor: 'test',
  });
  const token = made.plaintext.reveal();
  expect(await api.ask('GET', path, { token })).toMatchObject({ status: 404 });
  expect(await api.ask('GET', path, { token: bearers['w1']! })).toMatchObject({ status: 403 });
  expect(await api.ask('GET', `${path}?after=-1`)).toMatchObject({ status: 422 });
  const narrow = await createToken(api.db, {
    tenantId: 'default',
    name: 'poster',
    scopes: ['events:write'],
    actor: 'test',
  });
  expect(await api.ask('GET', path, { token: narrow.plaintext.reveal() })).toMatchObject({ status: 403 });
});

test('bad events are refused with their place, and nothing of their batch is kept', async () => {
  const work = await held('bad');
  const refused: [object, number, unknown][] = [
    [{ events: [] }, 422, expect.anything()],
    [{ events: Array.from({ length: 101 }, (_each, n) => event(n + 1)) }, 422, expect.anything()],
    [
      { events: [event(2), event(1)] },
      422,
      [{ pointer: '/events/1/sequence', detail: 'must be after the one before' }],
    ],
    [
      { events: [event(1), event(2, { event_id: 'e-1' })] },
      422,
      [{ pointer: '/events/1/event_id', detail: 'must not be there twice' }],
    ],
    [
      { events: [event(1, { payload: 'x'.repeat(65_536) })] },
      422,
      [{ pointer: '/events/0/payload', detail: 'is larger than 64 KiB' }],
    ],
    [{ events: [event(0)] }, 422, expect.anything()],
    [{ events: [event(1, { more: 1 })] }, 400, expect.anything()],
    [{ events: [event(1)], lease_token: work.token }, 400, expect.anything()],
  ];
  for (const [body, status, errors] of refused) {
    const answer = await write(work, 'events', body);
    expect([answer.status, answer.body['errors']]).toEqual([status, errors]);
  }
  await write(work, 'events', { events: [event(5)] });
  expect(
    await write(work, 'events', {
      events: [event(5), event(6), event(7, { event_id: 'e-5x', sequence: 7 }), event(8)],
    }),
  ).toMatchObject({ status: 200 });
  expect(await write(work, 'events', { events: [event(4), event(9)] })).toMatchObject({
    status: 409,
    body: { code: 'sequence.not_monotonic', last_sequence: 8 },
  });
  expect(await write(work, 'events', { events: [event(5, { payload: 0 }), event(9)] })).toMatchObject({
    status: 409,
    body: { code: 'idempotency.content_mismatch', event_id: 'e-5' },
  });
  const read = await api.ask('GET', `/api/workloads/${work.id}/events`);
  expect(read.body).toMatchObject({ events: [{ sequence: 5 }, { sequence: 6 }, { sequence: 7 }, { sequence: 8 }] });
});

describe.each(Object.entries(BODIES))('%s', (kind, body) => {
  test('takes its token from one header alone', async () => {
    const { id, token } = await held(`header-${kind}`);
    const path = `work/${id}/${kind}`;
    expect(await post(path, body)).toMatchObject({ status: 400, body: { code: 'lease.token_required' } });
    expect(await post(`${path}?lease_token=${token}`, body)).toMatchObject({ status: 400 });
    expect(await post(`${path}?lease_token=${token}`, body, token)).toMatchObject({ status: 400 });
    expect(await post(path, { ...body, lease_token: token }, token)).toMatchObject({ status: 400 });
    expect(await post(path, body, undefined, { bearer: token })).toMatchObject({ status: 401 });
    expect(await post(path, body, token)).toMatchObject({ status: 200 });
  });

  test('is taken on the own path of the worker that holds the lease, with the scope work.write', async () => {
    const { id, token } = await held(`path-${kind}`);
    const path = `work/${id}/${kind}`;
    expect((await post(path, body, token, { as: 'w2', bearer: bearers['w1']! })).status).toBe(403);
    expect(await post(path, body, token, { as: 'w2' })).toMatchObject({ status: 409, body: { code: 'lease.stale' } });
    expect(await post(`work/wl_${'a'.repeat(32)}/${kind}`, body, token)).toMatchObject({ status: 404 });
    expect(
      (await api.ask('POST', `/api/workers/w1/${path}`, { json: body, headers: { 'Lease-Token': token } })).status,
    ).toBe(403);
    await api.db.query(
      "UPDATE worker_credentials SET scopes = '{heartbeat,work.claim,work.renew}' WHERE worker_id = 'w1'",
    );
    expect(await post(path, body, token)).toMatchObject({ status: 403, body: { code: 'auth.scope_required' } });
    await api.db.query(
      "UPDATE worker_credentials SET scopes = '{heartbeat,work.claim,work.renew,work.write}' WHERE worker_id = 'w1'",
    );
    await api.db.query("UPDATE workers SET status = 'revoked' WHERE worker_id = 'w1'");
    expect(await post(path, body, token)).toMatchObject({ status: 401 });
    await api.db.query("UPDATE workers SET status = 'active' WHERE worker_id = 'w1'");
    expect(await post(path, body, token)).toMatchObject({ status: 200 });
  });
});
