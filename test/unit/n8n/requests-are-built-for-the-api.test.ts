import { createHash } from 'node:crypto';
import { authorizeRequest } from '../../../contracts/capabilities';
import { pathOf, RequestError } from '../../../n8n/shared/api-request';
import { authorize, isRefusal } from '../../../n8n/shared/capabilities';
import { problemOf } from '../../../n8n/shared/problem';
import { deleteState, documentOf, expectationOf, putState } from '../../../n8n/shared/source-state';
import { createSubscription, listOf, newSubscriptionOf, tells } from '../../../n8n/shared/subscriptions';
import {
  actOnWorkload,
  ENDED_STATES,
  hasEnded,
  idempotencyKeyOf,
  listWorkloads,
  pageOf,
  pollDelay,
} from '../../../n8n/shared/workloads';
import { WORKLOAD_STATES } from '../../../contracts/terminology';

test('an id cannot leave its place in a path, and is never empty', () => {
  expect(pathOf`/api/workloads/${'../policy?x'}/cancel`).toBe('/api/workloads/..%2Fpolicy%3Fx/cancel');
  expect(() => pathOf`/api/workloads/${' '}/cancel`).toThrow(RequestError);
});

describe('capabilities', () => {
  const fields = {
    token: 'owc_x',
    hook: 'context-rss',
    kind: 'context' as const,
    operation: 'show-entry',
    resource: 'entry:1419',
  };

  test('an authorization carries exactly what was asked, and a key only where there is one', () => {
    expect(authorize({ ...fields, idempotencyKey: '' }).body).toEqual(fields);
    const built = authorize({ ...fields, idempotencyKey: 'k' }).body;
    expect(built).toEqual({ ...fields, idempotency_key: 'k' });
    expect(authorizeRequest.parse(built)).toEqual(built);
  });

  test.each(['token', 'hook', 'operation', 'resource'])('%s must be a text that is not empty', (name) => {
    for (const value of ['', undefined, ['entry:1419'], { glob: '*' }]) {
      expect(() => authorize({ ...fields, [name]: value })).toThrow(RequestError);
    }
  });

  test('only the refusal itself is a refusal; a token without the scope is an error', () => {
    const answer = (status: number, code: string): boolean => isRefusal({ status, headers: {}, body: { code } });
    expect(answer(403, 'capability.denied')).toBe(true);
    expect(answer(403, 'auth.scope_required')).toBe(false);
    expect(answer(200, 'capability.denied')).toBe(false);
    expect(isRefusal({ status: 403, headers: {}, body: '<html>' })).toBe(false);
  });
});

describe('source state', () => {
  test('a write says what it expects', () => {
    const headers = (etag: unknown): unknown => putState('rss', 'a/b', '{"n":1}', expectationOf(etag)).headers;
    expect(headers('"4"')).toEqual({ 'If-Match': '"4"' });
    expect(headers(null)).toEqual({ 'If-None-Match': '*' });
    expect(putState('rss', 'a/b', '{"n":1}', { kind: 'any' })).toEqual({
      method: 'PUT',
      path: '/api/sources/rss/state/a%2Fb',
      body: { value: { n: 1 } },
    });
    expect(deleteState('rss', 'c', { kind: 'etag', etag: '"4"' }).headers).toEqual({ 'If-Match': '"4"' });
  });

  test('a missing document reads as the default without an ETag', () => {
    const missing = { status: 404, headers: {}, body: { code: 'not_found' } };
    expect(documentOf(missing, 'rss', 'c', { seen: [] })).toMatchObject({
      exists: false,
      etag: null,
      value: { seen: [] },
    });
    const found = { status: 200, headers: { etag: '"7"' }, body: { key: 'c', version: 7, value: 1 } };
    expect(documentOf(found, 'rss', 'c', null)).toEqual({ exists: true, key: 'c', version: 7, value: 1, etag: '"7"' });
    expect(documentOf({ ...found, headers: {} }, 'rss', 'c', null)).toMatchObject({ etag: '"7"' });
  });
});

describe('workloads', () => {
  test('the ended states are states of the service', () => {
    const going = ['accepted', 'held', 'queued', 'delivered', 'running', 'preempted'];
    expect([...ENDED_STATES, ...going].sort()).toEqual([...WORKLOAD_STATES].sort());
    expect(hasEnded({ state: 'lost' })).toBe(true);
    expect(hasEnded({ state: 'running' })).toBe(false);
    expect(hasEnded(null)).toBe(false);
  });

  test('actions carry their reason and a key that only a retry repeats', () => {
    const key = idempotencyKeyOf('7', 'node', 'cancel', 'wl_1', 'why');
    expect(actOnWorkload('cancel', 'wl_1', 'why', key)).toEqual({
      method: 'POST',
      path: '/api/workloads/wl_1/cancel',
      body: { reason: 'why' },
      headers: { 'Idempotency-Key': key },
    });
    expect(idempotencyKeyOf('7', 'node', 'cancel', 'wl_1', 'why')).toBe(key);
    expect(idempotencyKeyOf('8', 'node', 'cancel', 'wl_1', 'why')).not.toBe(key);
    expect(() => actOnWorkload('cancel', 'wl_1', '', key)).toThrow('Reason is empty');
  });

  test('blank filters do not filter, and pages end', () => {
    expect(listWorkloads({ state: 'lost', source: '' }, 20).query).toEqual({ state: 'lost', limit: 20 });
    expect(pageOf({ workloads: [{ a: 1 }], next_cursor: null })).toEqual({ items: [{ a: 1 }], nextCursor: null });
  });

  test('polls get slower, to ten seconds', () => {
    const delays = Array.from({ length: 30 }, (_each, index) => pollDelay(index));
    expect(delays[0]).toBe(500);
    expect(delays).toEqual([...delays].sort((a, b) => a - b));
    expect(delays.at(-1)).toBe(10_000);
  });
});

test('a problem is shown with its code, its detail and every pointer', () => {
  const body = {
    code: 'request.invalid',
    detail: 'The request breaks rules.',
    errors: [{ pointer: '/event_id', detail: 'is too long' }],
    request_id: 'r1',
  };
  expect(problemOf({ status: 422, headers: {}, body })).toEqual({
    message: 'request.invalid: The request breaks rules.',
    description: '/event_id is too long\nrequest id: r1',
    httpCode: '422',
  });
  const gateway = 'http.502: the service answered 502';
  expect(problemOf({ status: 502, headers: {}, body: '<html>' })).toMatchObject({
    message: gateway,
    description: gateway,
  });
});

describe('subscriptions', () => {
  test('one that was disabled, or posts elsewhere, is as good as none', () => {
    const url_hash = createHash('sha256').update('http://n8n/w').digest('hex');
    expect(tells({ subscription: { url_hash, disabled_at: null } }, 'http://n8n/w')).toBe(true);
    expect(tells({ subscription: { url_hash, disabled_at: '2026-01-01T00:00:00Z' } }, 'http://n8n/w')).toBe(false);
    expect(tells({ subscription: { url_hash, disabled_at: null } }, 'http://n8n/other')).toBe(false);
    expect(tells('<html>', 'http://n8n/w')).toBe(false);
  });

  test('what is empty does not filter', () => {
    expect(listOf(' rss, ,github ')).toEqual(['rss', 'github']);
    expect(createSubscription('http://n8n/w', { states: ['lost'], sources: [], rules: [] }).body).toEqual({
      url: 'http://n8n/w',
      states: ['lost'],
    });
  });

  test('the secret comes with the creation, or there is no subscription', () => {
    const body = { subscription: { subscription_id: 'sub_1', url: 'http://n8n/w' }, secret: 'whsec_x' };
    expect(newSubscriptionOf(body)).toEqual({ subscriptionId: 'sub_1', secret: 'whsec_x' });
    expect(newSubscriptionOf({ subscription: body.subscription })).toBeNull();
    expect(newSubscriptionOf('<html>')).toBeNull();
  });
});
