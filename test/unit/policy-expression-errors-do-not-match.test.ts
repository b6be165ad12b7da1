import fc from 'fast-check';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { eventOf, policyOf, when } from '../support/policy';

const tenant = 'default';

test.each([
  ['event.data.missing == "x"', 'no_such_key'],
  ['event.data.text > 5', 'no_such_overload'],
  ['event.data.text && true', 'invalid_logical_operand'],
  ['event.data.text.all(x, true)', 'invalid_comprehension_range'],
  ['int(event.data.text) == 1', 'int_conversion_error'],
  ['1 / int(event.data.zero) == 1', 'division_by_zero'],
  ['event.data.number.startsWith("x")', 'no_matching_overload'],
  ['event.subject == "x"', 'no_such_key'],
])('%s does not match, is recorded as %s, and the next rule is tried', (expression, error) => {
  const policy = policyOf(when('broken', expression), when('next', 'true'));
  const { ruleId, trace } = evaluatePolicy(policy, eventOf({ text: 'TEXT', number: 4, zero: 0 }), { tenant });
  expect(ruleId).toBe('next');
  expect(trace).toEqual([
    { ruleId: 'broken', outcome: 'error', error },
    { ruleId: 'next', outcome: 'matched' },
  ]);
});

test('an error beside a decisive side of && or || does no harm', () => {
  const policy = policyOf(
    when('and', 'event.data.missing == 1 && false'),
    when('or', 'event.data.missing == 1 || true'),
  );
  expect(evaluatePolicy(policy, eventOf({}), { tenant }).trace).toEqual([
    { ruleId: 'and', outcome: 'not_matched' },
    { ruleId: 'or', outcome: 'matched' },
  ]);
});

const keyed = (decision: string) =>
  policyOf(when('keyed', 'true', `decision: ${decision}, dedupe: { key: event.data.key }`), when('next', 'true'));

test.each([
  ['missing', {}, 'no_such_key'],
  ['a number', { key: 5 }, 'not_a_string'],
  ['empty', { key: '' }, 'empty'],
  ['too long', { key: 'x'.repeat(1025) }, 'too_long'],
  ['with NUL', { key: 'a\0' }, 'unprintable'],
  ['with a lone surrogate', { key: '\ud800' }, 'unprintable'],
])('a dedupe key that is %s denies the event', (_name, data, code) => {
  for (const decision of ['dispatch', 'hold']) {
    expect(evaluatePolicy(keyed(decision), eventOf(data), { tenant })).toMatchObject({
      decision: 'deny',
      reason: 'dedupe_key_error',
      ruleId: 'keyed',
      dedupeKey: null,
      trace: [{ ruleId: 'keyed', outcome: 'matched', error: `dedupe_key:${code}` }],
    });
  }
});

test('a dedupe key of 1,024 characters is taken; a rule that does no work needs none', () => {
  const key = 'k'.repeat(1024);
  expect(evaluatePolicy(keyed('dispatch'), eventOf({ key }), { tenant }).dedupeKey).toBe(key);
  expect(evaluatePolicy(keyed('ignore'), eventOf({}), { tenant })).toMatchObject({
    decision: 'ignore',
    dedupeKey: null,
  });
});

test('evaluation is total over any JSON data, and no value of the event is in the trace', () => {
  const policy = policyOf(
    when('a', 'event.data.a.b.c == "x" && event.data.list.exists(x, x.name == event.data.a)'),
    when('b', 'string(event.data.a) + event.data.b == "q" || event.data.a > 3.0'),
    when('c', 'event.data.a in event.data.list || event.data.list == event.data.b'),
    when('d', 'event.data.list.map(x, x + x).size() > 2 && glob(event.data.a, "*MARK*b?")'),
    when('e', 'event.data.a == event.data.b', 'decision: hold, dedupe: { key: event.data.a + "!" }'),
    when('f', 'event.data.?a.?b.orValue("x") == "x" && timestamp(event.data.a) < timestamp(event.data.b)'),
  );
  const key = fc.constantFrom('a', 'b', 'c', 'list', 'name', '__proto__', 'constructor', 'toString');
  const leaf = fc.oneof(
    fc.string({ unit: 'binary' }).map((text) => `MARK${text}`),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
  );
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      leaf,
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
    ),
  }));
  fc.assert(
    fc.property(fc.dictionary(key, tree, { maxKeys: 5 }), (data) => {
      const { trace, decision, dedupeKey } = evaluatePolicy(policy, eventOf(data), { tenant });
      expect(['ignore', 'deny', 'hold', 'dispatch']).toContain(decision);
      expect(dedupeKey === null || decision === 'hold' || decision === 'dispatch').toBe(true);
      expect(JSON.stringify(trace)).not.toContain('MARK');
      expect(trace.every(({ error }) => error === undefined || /^(dedupe_key:)?[a-z_]+$/.test(error))).toBe(true);
    }),
    { numRuns: 500 },
  );
});
