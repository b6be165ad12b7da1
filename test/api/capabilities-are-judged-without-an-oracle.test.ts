import { randomBytes } from 'node:crypto';
import { claim } from '../../ledger/claims';
import { recordIntent } from '../../ledger/deliveries';
import { recordLifecycle } from '../../ledger/lifecycle';
import { enrolWorker } from '../../ledger/enrol-worker';
import { authenticateWorker, type WorkerPrincipal } from '../../ledger/workers';
import { anEvent, startTestApi, type Answer, type TestApi } from '../support/api-server';
import { policyText } from '../support/policy';

const POLICY = policyText(
  `{ id: all, when: "true", decision: dispatch, capabilities: [
      { hook: context-rss, operations: [show-entry, list], resources: ['"entry:" + string(event.data.entry_id)'], max_uses: 2 },
      { hook: mail-draft-store, kind: mutation, operations: [store], resources: [{ glob: "draft:*" }] } ] }`,
);

let api: TestApi;
let hook: string;
let worker: WorkerPrincipal;
beforeAll(async () => {
  api = await startTestApi();
  await api.ask('PUT', '/api/policy', { json: { source: POLICY } });
  hook = await api.newToken(['capabilities:authorize']);
  const enrolled = await enrolWorker(api.db, {
    workerId: 'w1',
    poolId: 'default',
    maxOpenDeliveries: 100,
    actor: 'test',
  });
  worker = (await authenticateWorker(api.db, enrolled.plaintext.reveal()))!;
});
afterAll(() => api.stop());

/** Hands a new workload over; its id and its token. */
async function delivered(eventId: string): Promise<{ id: string; token: string }> {
  const posted = await api.ask('POST', '/api/events', { json: anEvent(eventId, { data: { entry_id: 7 } }) });
  const id = posted.body.workload_id;
  await api.admit(id);
  const claimed = await claim(api.db, worker, id);
  const write = { principal: worker, workId: id, leaseToken: claimed.lease_token };
  await recordIntent(api.db, write, randomBytes(16).toString('hex'));
  return { id, token: claimed.capability!.token };
}

const ENTRY = { hook: 'context-rss', operation: 'show-entry', resource: 'entry:7' };
const authorize = (token: string, more: object = {}, caller = hook): Promise<Answer> =>
  api.ask('POST', '/api/capabilities/authorize', { token: caller, json: { token, ...ENTRY, ...more } });

test('what the rule grants is allowed and counted, what it does not grant is refused with the reason', async () => {
  const { id, token } = await delivered('granted');
  const first = await authorize(token);
  expect([first.status, first.body]).toEqual([
    200,
    {
      allowed: true,
      workload_id: id,
      delivery_id: id,
      use: 1,
      remaining: 1,
      expires_at: expect.stringMatching(/^\d{4}-.*Z$/),
    },
  ]);
  const refused = await authorize(token, { resource: 'entry:8' });
  expect([refused.status, refused.headers.get('content-type'), refused.body]).toMatchObject([
    403,
    'application/problem+json; charset=utf-8',
    { code: 'capability.denied', allowed: false, reason: 'resource_not_granted' },
  ]);
  expect((await authorize(token, { operation: 'delete-entry' })).body).toMatchObject({
    reason: 'operation_not_granted',
  });
  const store = { hook: 'mail-draft-store', operation: 'store', resource: 'draft:1' };
  expect((await authorize(token, store)).body).toMatchObject({ reason: 'operation_not_granted' });
  expect((await authorize(token, { ...store, kind: 'mutation' })).status).toBe(200);
  expect((await authorize(token)).body).toMatchObject({ use: 2, remaining: 0 });
  expect((await authorize(token)).body).toMatchObject({ reason: 'exhausted' });
});

test('a repeat by its key is answered alike and says so; the key with another request is a conflict', async () => {
  const { token } = await delivered('repeated');
  const first = await authorize(token, { idempotency_key: 'run-1' });
  const again = await authorize(token, { idempotency_key: 'run-1' });
  expect([again.status, again.text]).toEqual([200, first.text]);
  expect([first.headers.get('idempotent-replayed'), again.headers.get('idempotent-replayed')]).toEqual([null, 'true']);
  const other = await authorize(token, { idempotency_key: 'run-1', operation: 'list' });
  expect([other.status, other.body.code, other.body.errors[0]!.pointer]).toEqual([
    409,
    'idempotency.conflict',
    '/idempotency_key',
  ]);
});

test('a token that is forged, cut or of another tenant gets one and the same answer', async () => {
  const { token } = await delivered('forged');
  const [, tokenId] = token.split('_');
  const other = await api.newToken(['capabilities:authorize'], 'other');
  const answers = await Promise.all([
    authorize(`owc_${tokenId}_${'A'.repeat(43)}`),
    authorize(`owc_${'0'.repeat(16)}_${'A'.repeat(43)}`),
    authorize(token.slice(0, 40)),
    authorize('x'),
    authorize(token, {}, other),
  ]);
  const seen = answers.map(({ status, text, body }) => [status, text.replace(body.request_id, '')]);
  expect(new Set(seen.map((each) => JSON.stringify(each))).size).toBe(1);
  expect(answers[0].body).toMatchObject({ code: 'capability.denied', reason: 'unknown' });
});

test('a capability token is no bearer, and other tokens do not open the route', async () => {
  const { token } = await delivered('bearer');
  for (const [method, path] of [
    ['GET', '/api/workloads'],
    ['GET', '/api/whoami'],
    ['POST', '/api/capabilities/authorize'],
  ] as const) {
    expect((await api.ask(method, path, { token })).status).toBe(401);
  }
  expect((await authorize(token, {}, await api.newToken(['events:write', 'workloads:write']))).status).toBe(403);
});

test.each([
  ['an unknown field', { extra: 1 }, 400, '/extra'],
  ['a kind that is none', { kind: 'both' }, 422, '/kind'],
  ['a hook that is none', { hook: 'Context RSS' }, 422, '/hook'],
  ['an empty resource', { resource: '' }, 422, '/resource'],
  ['a resource that is no text', { resource: 7 }, 422, '/resource'],
  ['a resource with NUL', { resource: 'a\0' }, 422, '/resource'],
  ['an empty key', { idempotency_key: '' }, 422, '/idempotency_key'],
  ['a token that is too long', { token: 'x'.repeat(257) }, 422, '/token'],
])('%s is refused by name', async (_name, more, status, pointer) => {
  const answer = await authorize('owc_', more);
  expect([answer.status, answer.body.errors.map((each) => each.pointer)]).toEqual([status, [pointer]]);
});

test('the record shows grants, uses and why they ended; revoking needs its scope, takes a key, and is the tenant’s own', async () => {
  const { id, token } = await delivered('revoked');
  await authorize(token);
  const path = `/api/workloads/${id}/capabilities/revoke`;
  const json = { reason: 'odd calls' };
  expect((await api.ask('POST', path, { token: hook, json })).status).toBe(403);
  const other = await api.newToken(['admin'], 'other');
  expect((await api.ask('POST', path, { token: other, json })).status).toBe(404);
  expect((await api.ask('POST', path, { json: {} })).status).toBe(422);

  const headers = { 'Idempotency-Key': 'revoke-1' };
  const revoked = await api.ask('POST', path, { json, headers });
  const again = await api.ask('POST', path, { json, headers });
  expect([revoked.status, again.status, again.text]).toEqual([200, 200, revoked.text]);
  expect(again.headers.get('idempotent-replayed')).toBe('true');
  expect((await authorize(token)).body).toMatchObject({ reason: 'closed' });

  const record = await api.ask('GET', `/api/workloads/${id}`);
  expect(record.body.capabilities).toMatchObject({
    grants: [
      {
        number: 1,
        hook: 'context-rss',
        kind: 'context',
        operations: ['show-entry', 'list'],
        resources: ['entry:7'],
        globs: [],
        max_uses: 2,
        ttl_ms: 7_200_000,
      },
      { number: 2, hook: 'mail-draft-store', kind: 'mutation', resources: [], globs: ['draft:*'] },
    ],
    revoked: { by: expect.stringMatching(/^token:/), reason: 'odd calls' },
    deliveries: [
      {
        number: 1,
        state: 'closed',
        close_reason: 'revoked',
        refused: 1,
        grants: [
          { number: 1, uses: 1, remaining: 1 },
          { number: 2, uses: 0, remaining: 1 },
        ],
      },
    ],
  });
  const types = record.body.timeline.map(({ type }) => type).filter((type) => type.startsWith('capability.'));
  expect(types).toEqual([
    'capability.granted',
    'capability.minted',
    'capability.active',
    'capability.used',
    'capability.revoked',
    'capability.refused',
  ]);
});

test('no answer and no line of the log has a token', async () => {
  const { id, token } = await delivered('silent');
  await authorize(token);
  await authorize(token, { resource: 'no' });
  await recordLifecycle(api.db, worker, {
    event_id: 'e-completed',
    delivery_id: id,
    status: 'completed',
    occurred_at: new Date().toISOString(),
  });
  const secret = token.slice('owc_0123456789abcdef_'.length);
  for (const path of ['/api/workloads', `/api/workloads/${id}`]) {
    expect((await api.ask('GET', path)).text).not.toContain(secret);
  }
  expect(api.log.length).toBeGreaterThan(0);
  expect(api.log.join()).not.toContain(secret);
});
