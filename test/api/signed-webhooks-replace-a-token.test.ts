import { randomBytes } from 'node:crypto';
import { Secret } from '../../contracts/secret';
import { signedHeaders } from '../../domain/webhooks/signature';
import { startTestApi, type Answer, type TestApi } from '../support/api-server';

const KEY = new Secret('k'.repeat(40));
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({
    config: { webhooks: { targets: { hosts: [], allowPrivate: false }, signingKey: () => KEY } },
  });
});
afterAll(() => api.stop());

interface Opened {
  endpoint: string;
  secret: string;
}

const open = async (source: string): Promise<Opened> => {
  const answer = await api.ask('PUT', `/api/sources/${source}/webhook`);
  expect(answer.status).toBe(200);
  return answer.body as unknown as Opened;
};

const post = (
  { endpoint, secret }: Opened,
  body: unknown,
  options: { id?: string; seconds?: number; over?: Record<string, string> } = {},
): Promise<Answer> => {
  const raw = JSON.stringify(body);
  const id = options.id ?? `msg_${randomBytes(8).toString('hex')}`;
  const headers = signedHeaders([new Secret(secret)], id, options.seconds ?? Date.now() / 1000, raw);
  return api.ask('POST', endpoint, { token: null, raw, headers: { ...headers, ...options.over } });
};

const event = (eventId: string): object => ({ action: 'opened', event_id: eventId });

test('a signed event is accepted for the source of the endpoint, whatever it says itself', async () => {
  const opened = await open('gitea');
  const answer = await post(opened, { ...event('1'), source: 'somebody-else' });
  expect(answer).toMatchObject({ status: 202, body: { state: 'accepted', duplicate: false } });
  const record = await api.ask('GET', `/api/workloads/${answer.body.workload_id}`);
  expect(record.body).toMatchObject({ source: 'gitea', event_id: '1' });
  expect(api.wakes.map((wake) => wake.workload_id)).toContain(answer.body.workload_id);
  expect(record.body.timeline[0]!.actor).toMatch(/^webhook:whe_[0-9a-f]{32}$/);
});

test('a CloudEvent is taken in structured mode, and not where the signature does not cover it', async () => {
  const opened = await open('ce');
  const cloudEvent = { specversion: '1.0', id: 'c1', source: '/their/own', type: 'issue.opened', data: { a: 1 } };
  const taken = await post(opened, cloudEvent, { over: { 'content-type': 'application/cloudevents+json' } });
  expect(taken.status).toBe(202);
  const headers = { 'ce-specversion': '1.0', 'ce-id': 'forged', 'ce-source': 'x', 'ce-type': 'y' };
  expect((await post(opened, { a: 1 }, { over: headers })).status).toBe(415);
});

test('the same webhook-id gets the first answer; with another body it is a conflict', async () => {
  const opened = await open('again');
  const first = await post(opened, event('1'), { id: 'msg_1' });
  const again = await post(opened, event('1'), { id: 'msg_1', seconds: Date.now() / 1000 - 60 });
  expect([again.status, again.text]).toEqual([202, first.text]);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect((await post(opened, event('2'), { id: 'msg_1' })).body.code).toBe('idempotency.conflict');
  expect((await post(opened, event('1'), { id: 'msg_2' })).body.duplicate).toBe(true);
});

test('whatever is wrong with the signature, the answer is the same', async () => {
  const opened = await open('strict');
  const other = await open('other');
  const bad = await Promise.all([
    post({ ...opened, secret: other.secret }, event('1')),
    post(opened, event('1'), { seconds: Date.now() / 1000 - 400 }),
    post(opened, event('1'), { over: { 'webhook-id': 'msg_forged' } }),
    post(opened, event('1'), { over: { 'webhook-signature': '' } }),
    post({ ...opened, endpoint: `/api/webhooks/whe_${'0'.repeat(32)}` }, event('1')),
    post({ ...opened, endpoint: '/api/webhooks/x' }, event('1')),
    api.ask('POST', opened.endpoint, { token: null, json: event('1') }),
    api.ask('POST', opened.endpoint, { json: event('1') }),
  ]);
  const told = bad.map(({ status, body: { code, detail, request_id: _id, ...rest } }) => ({
    status,
    code,
    detail,
    rest,
  }));
  expect(told).toEqual(told.map(() => told[0]));
  expect(told[0]).toMatchObject({ status: 401, code: 'webhook.signature_invalid' });
});

test('an address that cannot be one is not looked up', async () => {
  const { secret } = await open('nul');
  expect((await post({ endpoint: '/api/webhooks/whe_%00', secret }, event('x'))).status).toBe(404);
});

test('PUT again rotates: both secrets count for a day; DELETE closes at once', async () => {
  const first = await open('rotating');
  const second = await open('rotating');
  expect(second.endpoint).toBe(first.endpoint);
  expect(second.secret).not.toBe(first.secret);
  expect((await post(first, event('1'))).status).toBe(202);
  expect((await post(second, event('2'))).status).toBe(202);
  await api.db.query("UPDATE webhook_endpoints SET rotated_at = clock_timestamp() - interval '25 hours'");
  expect((await post(first, event('3'))).status).toBe(401);
  expect((await post(second, event('4'))).status).toBe(202);
  expect((await api.ask('DELETE', '/api/sources/rotating/webhook')).status).toBe(200);
  expect((await post(second, event('5'))).status).toBe(401);
  expect((await api.ask('DELETE', '/api/sources/rotating/webhook')).status).toBe(404);
});

test('many bad signatures slow their sender down, and no secret is in the log', async () => {
  const opened = await open('guessed');
  let status = 401;
  for (let n = 0; n < 40 && status === 401; n += 1) {
    status = (await post({ ...opened, secret: `whsec_${randomBytes(32).toString('base64')}` }, event('1'))).status;
  }
  expect(status).toBe(429);
  expect((await post(opened, event('1'))).status).toBe(202);
  expect(api.log.join('\n')).not.toContain(opened.secret.slice(6));
});

test('only who may write sources opens endpoints', async () => {
  const token = await api.newToken(['events:write']);
  expect((await api.ask('PUT', '/api/sources/x/webhook', { token })).status).toBe(403);
});
