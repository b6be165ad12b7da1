import http from 'node:http';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { anEvent, DISPATCH_ALL, startTestApi, type TestApi } from '../support/api-server';
import { eventually } from '../support/eventually';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({ config: { maxWaiters: 3 } });
  await api.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
});
afterAll(() => api.stop());

const waiting = (eventId: string, wait: string) =>
  api.ask('POST', '/api/events', { json: anEvent(eventId), headers: { Prefer: wait } });
const wakeOf = (eventId: string) =>
  eventually(async () => {
    const [row] = await api.db.query<{ workload_id: string }>('SELECT workload_id FROM events WHERE event_id = $1', [
      eventId,
    ]);
    return row?.workload_id ?? null;
  });

test('a decision in time is 200 with the decision', async () => {
  const answer = waiting('in-time', 'wait=20');
  await api.admit(await wakeOf('in-time'));
  const { status, body, headers } = await answer;
  expect(status).toBe(200);
  expect(headers.get('preference-applied')).toBe('wait=20');
  expect(body).toMatchObject({
    state: 'queued',
    duplicate: false,
    decision: {
      decision: 'dispatch',
      rule_id: 'everything',
      policy_version: 1,
      trace: [{ rule_id: 'everything', outcome: 'matched' }],
    },
  });
});

test('no decision in time is 202, after the time that was asked for', async () => {
  const began = Date.now();
  const { status, body } = await waiting('too-late', 'wait=1');
  expect([status, body.state, body.decision]).toEqual([202, 'accepted', undefined]);
  expect(Date.now() - began).toBeGreaterThanOrEqual(950);
});

test('the time is over also while the garbage collector is at work', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const collecting = setInterval(collect, 50);
  try {
    expect((await waiting('collected', 'wait=1')).status).toBe(202);
  } finally {
    clearInterval(collecting);
  }
});

test('an event that is decided already is answered at once, also as a duplicate', async () => {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: anEvent('known') })).body;
  await api.admit(id);
  const { status, body } = await waiting('known', 'wait=20');
  expect([status, body.duplicate, body.decision.decision]).toEqual([200, true, 'dispatch']);
});

test('preferences that are not understood are passed over, and more than 20 s is 20 s', async () => {
  for (const prefer of ['respond-async', 'wait=soon', 'wait=-1', 'wait', 'wait=0']) {
    const answer = await waiting(`pref-${prefer}`, prefer);
    expect([prefer, answer.status, answer.headers.get('preference-applied')]).toEqual([prefer, 202, null]);
  }
  const answer = waiting('capped', 'respond-async, Wait=999999');
  await api.admit(await wakeOf('capped'));
  expect((await answer).headers.get('preference-applied')).toBe('wait=20');
});

test('of too many who wait the last ones are answered at once, and a caller who leaves makes room', async () => {
  const leavers = ['a', 'b', 'c'].map((name) => leave(`leaver-${name}`));
  await Promise.all(leavers.map(({ eventId }) => wakeOf(eventId)));
  const began = Date.now();
  expect((await waiting('one-too-many', 'wait=10')).status).toBe(202);
  expect(Date.now() - began).toBeLessThan(5000);

  for (const { request } of leavers) request.destroy();
  await eventually(async () => {
    const event = `room-${Date.now()}`;
    const started = Date.now();
    await waiting(event, 'wait=1');
    return Date.now() - started >= 950;
  });
});

test('those who wait are answered when the service stops', async () => {
  const stopping = await startTestApi();
  const answer = stopping.ask('POST', '/api/events', { json: anEvent('stopped'), headers: { Prefer: 'wait=20' } });
  await eventually(
    async () => (await stopping.db.query("SELECT 1 FROM events WHERE event_id = 'stopped'")).length === 1,
  );
  const began = Date.now();
  await stopping.stop();
  expect((await answer).status).toBe(202);
  expect(Date.now() - began).toBeLessThan(5000);
});

/** Posts and waits, to be cut off. */
function leave(eventId: string): { eventId: string; request: http.ClientRequest } {
  const request = http.request(`${api.url}/api/events`, {
    method: 'POST',
    headers: { authorization: `Bearer ${api.token}`, 'content-type': 'application/json', prefer: 'wait=20' },
  });
  request.on('error', () => undefined);
  request.end(JSON.stringify(anEvent(eventId)));
  return { eventId, request };
}
