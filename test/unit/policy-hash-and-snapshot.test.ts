import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { DEFAULT_DEADLINES } from '../../contracts/deadlines';
import { REDELIVER_ON } from '../../contracts/retry';
import { formatDuration, parseDuration } from '../../contracts/duration';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { parsePolicy } from '../../domain/policy/parse';
import { eventOf, policyOf, policyText, when } from '../support/policy';

const HOUR = 3_600_000;

test('the hash is SHA-256 of the exact text', () => {
  const text = `${policyText(when('a', 'true'))} # é\n`;
  expect(parsePolicy(text).policy.hash).toBe(createHash('sha256').update(Buffer.from(text, 'utf8')).digest('hex'));
  expect(parsePolicy(`${text} `).policy.hash).not.toBe(parsePolicy(text).policy.hash);
});

test('a rule of three fields gets every documented default', () => {
  expect(policyOf(when('a', 'true')).rules[0]!.snapshot).toEqual({
    id: 'a',
    decision: 'dispatch',
    reason: 'a',
    dedupe: null,
    to: { pool: 'default', executor: 'opencrow', priority: 3 },
    trigger: { prompt: null, include: [], response_policy: null },
    deadlines: {
      queued: 24 * HOUR,
      start: HOUR / 2,
      run: 2 * HOUR,
      resume: HOUR / 2,
      total: 12 * HOUR,
      late: 24 * HOUR,
    },
    retry: { redeliver_on: [], max_deliveries: 1 },
    hold: null,
    capabilities: [],
  });
});

test('blocks fill in their own defaults', () => {
  const rest = `decision: hold, dedupe: { key: '"k"' }, retry: { redeliver_on: [lost] },
      capabilities: [{ hook: h, operations: [read], resources: ["'r'"] }], deadlines: { total: 1h30m }`;
  expect(policyOf(when('a', 'true', rest)).rules[0]!.snapshot).toMatchObject({
    dedupe: { window: 24 * HOUR, on_duplicate: 'drop' },
    retry: { redeliver_on: ['lost'], max_deliveries: 2 },
    hold: { deadline: 24 * HOUR, then: 'deny' },
    deadlines: { ...DEFAULT_DEADLINES, total: 1.5 * HOUR },
    capabilities: [{ hook: 'h', operations: ['read'], resources: ["'r'"], max_uses: 1, ttl: 2 * HOUR }],
  });
});

test('the snapshot of any rule survives storage as JSON, and nobody can change it', () => {
  const duration = fc.integer({ min: 1, max: 36_000 }).map((seconds) => formatDuration(seconds * 1000));
  const rule = fc.record(
    {
      reason: fc.stringMatching(/^[ -~é漢😀]{1,40}$/u),
      dedupe: fc.record({ key: fc.constant('event.event_id'), window: duration }, { requiredKeys: ['key'] }),
      to: fc.record(
        { pool: fc.constantFrom('default', 'other'), priority: fc.integer({ min: 1, max: 5 }) },
        { requiredKeys: [] },
      ),
      trigger: fc.record({
        prompt: fc.stringMatching(/^[ -~\n"\\]{1,80}$/),
        include: fc.uniqueArray(fc.stringMatching(/^[a-z_]{1,9}$/)),
      }),
      deadlines: fc.record({ queued: duration, start: duration, run: duration, late: duration }, { requiredKeys: [] }),
      retry: fc.record({ redeliver_on: fc.subarray([...REDELIVER_ON], { minLength: 1 }) }),
      hold: fc.record({ deadline: duration, then: fc.constantFrom('deny', 'dispatch') }),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(rule, (fields) => {
      const document = {
        version: 1,
        default: { decision: 'ignore' },
        rules: [{ id: 'a', when: 'true', decision: 'hold', ...fields }],
      };
      const { policy } = parsePolicy(JSON.stringify(document));
      const { rule: snapshot } = evaluatePolicy(policy, eventOf({}), { tenant: 'default' });
      expect(JSON.parse(JSON.stringify(snapshot))).toEqual(snapshot);
      expect(() => snapshot!.retry.redeliver_on.push('lost')).toThrow(TypeError);
    }),
  );
});

test('durations read as they are written', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 400 * 86_400 }), (seconds) => {
      expect(parseDuration(formatDuration(seconds * 1000))).toBe(seconds * 1000);
    }),
  );
  expect(['', '5', 'h', '1m1h', '-1h', '1.5h', ' 1h', '1h ', '1H'].map(parseDuration)).toEqual(Array(9).fill(null));
});
