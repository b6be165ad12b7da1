import fc from 'fast-check';
import { Secret } from '../../contracts/secret';
import { afterTry, LONGEST_DELAY_MS, MAX_REFUSED_TRIES, MAX_TRIES, retryAfterOf } from '../../domain/webhooks/retry';
import { OVERLAP_MS, secretsInForce, webhookSecret } from '../../domain/webhooks/secrets';
import { isSigned, signedHeaders } from '../../domain/webhooks/signature';

// The example that Standard Webhooks publishes with its libraries.
const EXAMPLE = {
  secret: new Secret('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'),
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  seconds: 1614265330,
  body: '{"test": 2432232314}',
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};

test('signatures are those of the published example', () => {
  const { secret, id, seconds, body, signature } = EXAMPLE;
  expect(signedHeaders([secret], id, seconds, body)).toEqual({
    'webhook-id': id,
    'webhook-timestamp': String(seconds),
    'webhook-signature': signature,
  });
});

test('any change of id, time, body or signature is refused, and so is what is older or newer than 5 minutes', () => {
  const { secret, id, seconds, body } = EXAMPLE;
  const headers = signedHeaders([secret], id, seconds, body);
  const ok = (over: object, text = body, now = seconds): boolean =>
    isSigned([secret], { ...headers, ...over }, Buffer.from(text), now);
  expect(ok({})).toBe(true);
  expect(ok({}, body, seconds + 300)).toBe(true);
  expect(ok({}, body, seconds + 301)).toBe(false);
  expect(ok({}, body, seconds - 301)).toBe(false);
  expect(ok({}, `${body} `)).toBe(false);
  expect(ok({ 'webhook-id': 'msg_other' })).toBe(false);
  expect(ok({ 'webhook-timestamp': String(seconds + 1) })).toBe(false);
  expect(ok({ 'webhook-signature': headers['webhook-signature'].replace('v1', 'v2') })).toBe(false);
  expect(ok({ 'webhook-signature': '' })).toBe(false);
  expect(ok({ 'webhook-signature': `v1,AAAA ${headers['webhook-signature']}` })).toBe(true);
  expect(isSigned([secret], {}, Buffer.from(body), seconds)).toBe(false);
});

test('secrets differ by everything they belong to; after a rotation both sign for a day', () => {
  const key = new Secret('k'.repeat(32));
  const of = { kind: 'callback', tenantId: 'a', id: 'a', version: 2 } as const;
  const others = [
    of,
    { ...of, kind: 'endpoint' as const },
    { ...of, tenantId: 'b' },
    { ...of, id: 'b' },
    { ...of, version: 3 },
  ];
  expect(new Set(others.map((each) => webhookSecret(key, each).reveal())).size).toBe(5);
  expect(webhookSecret(new Secret('j'.repeat(32)), of).reveal()).not.toBe(webhookSecret(key, of).reveal());
  const rotated = new Date(0);
  expect(secretsInForce(key, of, rotated, new Date(OVERLAP_MS - 1))).toHaveLength(2);
  expect(secretsInForce(key, of, rotated, new Date(OVERLAP_MS))).toHaveLength(1);
});

const outcome = fc.record({
  status: fc.option(fc.integer({ min: 100, max: 599 }), { nil: null }),
  error: fc.constant('refused'),
  retryAfterMs: fc.option(fc.integer({ min: 0, max: 1e12 }), { nil: null }),
});

test('every message ends: each try is followed by an end or by a bounded wait, and there is a last one', () => {
  fc.assert(
    fc.property(
      fc.array(outcome, { minLength: MAX_TRIES, maxLength: MAX_TRIES }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (outcomes, random) => {
        const ends = outcomes.map((each, index) => afterTry(index + 1, each, random));
        for (const [index, end] of ends.entries()) {
          const { status, retryAfterMs } = outcomes[index]!;
          if (status !== null && status >= 200 && status < 300) expect(end.state).toBe('delivered');
          if (end.state !== 'pending') continue;
          expect(end.delayMs).toBeGreaterThanOrEqual(Math.min(retryAfterMs ?? 0, LONGEST_DELAY_MS));
          expect(end.delayMs).toBeLessThanOrEqual(LONGEST_DELAY_MS * 1.2);
        }
        expect(ends.at(-1)!.state).not.toBe('pending');
      },
    ),
  );
});

test('what does not answer is tried for about a day, what refuses for about half an hour', () => {
  const hours = (status: number | null, tries: number): number =>
    Array.from({ length: tries - 1 }, (_, index) =>
      afterTry(index + 1, { status, error: 'x', retryAfterMs: null }, 0.5),
    )
      .map((after) => (after.state === 'pending' ? after.delayMs : NaN))
      .reduce((sum, delay) => sum + delay, 0) / 3_600_000;
  expect(hours(null, MAX_TRIES)).toBeGreaterThan(22);
  expect(hours(503, MAX_TRIES)).toBeLessThan(26);
  expect(hours(404, MAX_REFUSED_TRIES)).toBeGreaterThan(0.5);
  expect(afterTry(MAX_REFUSED_TRIES, { status: 404, error: 'x', retryAfterMs: null }, 0)).toEqual({ state: 'gave_up' });
  expect(afterTry(1, { status: 410, error: 'x', retryAfterMs: null }, 0)).toEqual({ state: 'gone' });
});

test('Retry-After is read as seconds and as a date', () => {
  expect(retryAfterOf('120', 0)).toBe(120_000);
  expect(retryAfterOf('Thu, 01 Jan 1970 00:01:00 GMT', 0)).toBe(60_000);
  expect(retryAfterOf('soon', 0)).toBeNull();
  expect(retryAfterOf(undefined, 0)).toBeNull();
});
