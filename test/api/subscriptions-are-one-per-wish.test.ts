import { Secret } from '../../contracts/secret';
import type { SubscriptionRecord } from '../../contracts/webhooks';
import { parseAllowedHost } from '../../domain/webhooks/allowed-target';
import { DISPATCH_ALL, anEvent, startTestApi, type TestApi } from '../support/api-server';

const KEY = new Secret('k'.repeat(40));
let api: TestApi;
beforeAll(async () => {
  const targets = { hosts: [parseAllowedHost('n8n.example.com')!], allowPrivate: false };
  api = await startTestApi({ config: { webhooks: { targets, signingKey: () => KEY } } });
  await api.ask('PUT', '/api/policy', { raw: DISPATCH_ALL, headers: { 'content-type': 'application/yaml' } });
});
afterAll(() => api.stop());

interface Answered {
  subscription: SubscriptionRecord;
  secret: string;
  subscriptions: SubscriptionRecord[];
}

const ask = async (method: string, path: string, json?: unknown, token = api.token) => {
  const answer = await api.ask(method, path, { token, ...(json === undefined ? {} : { json }) });
  return { status: answer.status, code: answer.body?.code, body: answer.body as unknown as Answered };
};

const url = (name: string): string => `https://n8n.example.com/webhook/${name}?token=s3cret`;

test('the same wish is the same subscription with the same secret; another one is another', async () => {
  const first = await ask('POST', '/api/subscriptions', { url: url('a'), states: ['completed', 'failed'] });
  expect(first.status).toBe(201);
  expect(first.body.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
  const again = await ask('POST', '/api/subscriptions', { url: url('a'), states: ['failed', 'completed'] });
  expect([again.status, again.body]).toEqual([200, first.body]);
  const other = await ask('POST', '/api/subscriptions', { url: url('a'), states: ['failed'] });
  expect(other.status).toBe(201);
  expect(other.body.secret).not.toBe(first.body.secret);
});

test('no answer shows the query of a URL; its hash finds it', async () => {
  const created = await ask('POST', '/api/subscriptions', { url: url('hidden') });
  const { subscription_id: id, url_hash: hash } = created.body.subscription;
  const listed = await ask('GET', '/api/subscriptions');
  const one = await ask('GET', `/api/subscriptions/${id}`);
  expect(JSON.stringify([created.body, listed.body, one.body])).not.toContain('s3cret');
  expect(listed.body.subscriptions.find(({ url_hash }) => url_hash === hash)).toEqual(one.body.subscription);
  expect(one.body).not.toHaveProperty('secret');
});

test('messages are written for the states, sources and rules that were asked for', async () => {
  const wishes = [
    { states: ['queued'] },
    { states: ['queued'], sources: ['rss'] },
    { states: ['queued'], rules: ['everything'] },
  ].concat([{ states: ['queued'], sources: ['mail'] }, { states: ['completed'] }]);
  const ids: string[] = [];
  for (const [index, wish] of wishes.entries()) {
    ids.push(
      (await ask('POST', '/api/subscriptions', { url: url(`f${index}`), ...wish })).body.subscription.subscription_id,
    );
  }
  const { body } = await api.ask('POST', '/api/events', { json: anEvent('told') });
  await api.admit(body.workload_id);
  const messages = await api.db.query<{ target_id: string; body: string }>(
    'SELECT target_id, body FROM webhook_messages WHERE workload_id = $1',
    [body.workload_id],
  );
  expect(messages.map(({ target_id }) => target_id).sort()).toEqual(ids.slice(0, 3).sort());
  expect(JSON.parse(messages[0]!.body)).toMatchObject({ type: 'workload.queued', data: { callback_for: [] } });

  await ask('DELETE', `/api/subscriptions/${ids[0]!}`);
  const record = await api.ask('GET', `/api/workloads/${body.workload_id}`);
  expect(record.body.callbacks.map(({ callback_id, state }) => [callback_id, state])).toContainEqual([
    ids[0],
    'withdrawn',
  ]);
  expect((await ask('GET', `/api/subscriptions/${ids[0]!}`)).status).toBe(404);
});

test('another tenant sees none of them, and a reader makes none', async () => {
  const { subscription } = (await ask('POST', '/api/subscriptions', { url: url('mine') })).body;
  const other = await api.newToken(['admin'], 'other');
  expect((await ask('GET', '/api/subscriptions', undefined, other)).body.subscriptions).toEqual([]);
  for (const method of ['GET', 'DELETE']) {
    expect((await ask(method, `/api/subscriptions/${subscription.subscription_id}`, undefined, other)).status).toBe(
      404,
    );
  }
  const reader = await api.newToken(['workloads:read']);
  expect((await ask('POST', '/api/subscriptions', { url: url('x') }, reader)).status).toBe(403);
});

test.each([
  ['https://evil.example.org/', 'callback.forbidden_host'],
  ['https://n8n.example.com:8080/', 'callback.forbidden_host'],
  ['http://169.254.169.254/', 'callback.forbidden_host'],
  ['https://user:pass@n8n.example.com/', 'request.invalid'],
  ['ftp://n8n.example.com/', 'request.invalid'],
  [`https://n8n.example.com/${'a'.repeat(2048)}`, 'request.invalid'],
])('%s is refused, also as a callback', async (target, code) => {
  expect(await ask('POST', '/api/subscriptions', { url: target })).toMatchObject({ status: 422, code });
  const posted = await api.ask('POST', '/api/events', { json: anEvent('refused', { callback_url: target }) });
  expect(posted).toMatchObject({ status: 422, body: { code } });
  const batch = await api.ask('POST', '/api/events/batch', {
    json: { events: [anEvent('refused', { callback_url: target }), anEvent(`beside-${target.slice(0, 40)}`)] },
  });
  expect(batch.body.results.map(({ status }) => status)).toEqual([422, 202]);
});

test.each(['\0', '\n', '\u007f', '\ud800'])('a URL with %j is refused', async (bad) => {
  const target = `https://n8n.example.com/webhook/${bad}`;
  expect((await ask('POST', '/api/subscriptions', { url: target })).status).toBe(422);
  const posted = await api.ask('POST', '/api/events', { json: anEvent('odd', { callback_url: target }) });
  expect([posted.status, posted.body.errors]).toMatchObject([422, [{ pointer: '/callback_url' }]]);
});

test('a tenant has at most 100, also when they come at once', async () => {
  const token = await api.newToken(['admin'], 'many');
  const made = await Promise.all(
    Array.from({ length: 105 }, (_, n) => ask('POST', '/api/subscriptions', { url: url(`n${n}`) }, token)),
  );
  expect(made.filter(({ status }) => status === 201)).toHaveLength(100);
  expect(new Set(made.filter(({ status }) => status !== 201).map(({ code }) => code))).toEqual(
    new Set(['subscription.limit']),
  );
});

test('secrets rotate, and only an admin reads that of the callbacks', async () => {
  const { subscription, secret } = (await ask('POST', '/api/subscriptions', { url: url('rotated') })).body;
  const rotated = await ask('POST', `/api/subscriptions/${subscription.subscription_id}/rotate-secret`);
  expect(rotated.status).toBe(200);
  expect(rotated.body.secret).not.toBe(secret);
  const before = await ask('GET', '/api/callbacks/secret');
  const after = await ask('POST', '/api/callbacks/secret/rotate');
  expect(after.body).toMatchObject({ version: 2 });
  expect(after.body.secret).not.toBe(before.body.secret);
  expect((await ask('GET', '/api/callbacks/secret')).body).toEqual(after.body);
  const token = await api.newToken(['workloads:write', 'events:write', 'audit:read', 'sources:write']);
  expect((await ask('GET', '/api/callbacks/secret', undefined, token)).status).toBe(403);
});

test('without allowed hosts nothing is taken, and the answer says how to change that', async () => {
  const bare = await startTestApi();
  try {
    const answer = await bare.ask('POST', '/api/events', { json: anEvent('x', { callback_url: url('x') }) });
    expect(answer).toMatchObject({ status: 422, body: { code: 'callback.forbidden_host', rule: 'no_hosts_allowed' } });
    expect(answer.body.detail).toContain('callback-hosts');
  } finally {
    await bare.stop();
  }
});
