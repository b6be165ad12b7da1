import fc from 'fast-check';
import { CAPABILITY_LIMITS, offeredCapabilities } from '../../contracts/capabilities';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { explainPolicy } from '../../domain/policy/explain';
import { eventOf, policyOf, policyText, problemsOf, when } from '../support/policy';

const tenant = 'default';
const granting = (capabilities: string, decision = 'dispatch') =>
  policyOf(when('a', 'true', `decision: ${decision}, capabilities: [${capabilities}]`));
const ENTRY = `{ hook: h, operations: [read], resources: ['"entry:" + event.data.id', { glob: "feed:*" }] }`;

test('a resource from the event is a literal, whatever is in the event; patterns are those of the policy', () => {
  const policy = granting(ENTRY);
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.constantFrom('*', '?', 'feed:*', '%', '{ glob: "*" }')), (id) => {
      const { decision, reason, grants } = evaluatePolicy(policy, eventOf({ id }), { tenant });
      if (decision === 'deny') {
        expect([reason, grants]).toEqual(['capability_error', []]);
        return;
      }
      expect(grants).toMatchObject([{ kind: 'context', literals: [`entry:${id}`], globs: ['feed:*'] }]);
    }),
  );
});

test.each([
  ['missing', {}, 'no_such_key'],
  ['no string', { id: 7 }, 'no_such_overload'],
  ['with a line break', { id: 'a\nb' }, 'unprintable'],
  ['with a lone surrogate', { id: '\ud800' }, 'unprintable'],
  ['too long', { id: 'x'.repeat(CAPABILITY_LIMITS.resourceChars) }, 'too_long'],
])('a resource that is %s denies the event, and says why', (_name, data, code) => {
  const { evaluation, rules } = explainPolicy(granting(ENTRY), eventOf(data), { tenant });
  expect(evaluation).toMatchObject({ decision: 'deny', reason: 'capability_error', grants: [], dedupeKey: null });
  expect(evaluation.trace).toEqual([{ ruleId: 'a', outcome: 'matched', error: `capability:${code}` }]);
  expect(rules[0]!.text).toBe(`matched, but a resource of its capabilities has no usable value (${code}): denied`);
});

test.each([
  ['empty', { id: '' }, 'empty'],
  ['a number', { id: 7 }, 'not_a_string'],
])('a resource that is %s denies too', (_name, data, code) => {
  const policy = granting('{ hook: h, operations: [read], resources: [event.data.id] }');
  expect(evaluatePolicy(policy, eventOf(data), { tenant }).trace[0]!.error).toBe(`capability:${code}`);
});

test('nothing is granted by a rule that does not dispatch', () => {
  for (const decision of ['ignore', 'deny']) {
    expect(evaluatePolicy(granting(ENTRY, decision), eventOf({ id: '1' }), { tenant })).toMatchObject({
      decision,
      grants: [],
    });
  }
  expect(evaluatePolicy(granting(ENTRY, 'hold'), eventOf({ id: '1' }), { tenant }).grants).toHaveLength(1);
});

const one = (fields: string): string => `{ hook: h, operations: [read], ${fields} }`;
const many = (count: number, text: (index: number) => string): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(', ');

test.each([
  ['resources: [7]', 'capabilities.0.resources.0: must be a CEL string in quotes, or { glob: "…" }'],
  ['resources: [["\'a\'"]]', 'capabilities.0.resources.0: must be a CEL string in quotes, or { glob: "…" }'],
  ['resources: [null]', 'capabilities.0.resources.0: must be a CEL string in quotes, or { glob: "…" }'],
  ['resources: ["event.source == \'a\'"]', 'capabilities.0.resources.0: must be string, is bool: wrap it in string(…)'],
  ['resources: [{ glob: "" }]', 'capabilities.0.resources.0.glob: must not be empty'],
  ['resources: [{ glob: 7 }]', 'capabilities.0.resources.0.glob: must be a pattern in quotes, e.g. "entry:*"'],
  [
    'resources: [{ glob: "a/**" }]',
    'capabilities.0.resources.0.glob: says ** where * is any run of characters, "/" included',
  ],
  [
    'resources: [{ glob: "[ab]" }]',
    'capabilities.0.resources.0.glob: may hold * and ? only: [ ] { } and \\ mean nothing here',
  ],
  ['resources: [{ glob: "a\\tb" }]', 'capabilities.0.resources.0.glob: must be printable characters'],
  [`resources: [{ glob: "${'a'.repeat(129)}" }]`, 'capabilities.0.resources.0.glob: must be at most 128 characters'],
  ['resources: [{ glob: "a", cel: "b" }]', 'capabilities.0.resources.0: unrecognized key: "cel"'],
  ['resources: []', 'capabilities.0.resources: too small: expected array to have >=1 items'],
  [`resources: [${many(33, () => '\'"a"\'')}]`, 'capabilities.0.resources: too big: expected array to have <=32 items'],
  ['kind: write, resources: ["\'a\'"]', 'capabilities.0.kind: must be context or mutation'],
  ['max_uses: 0, resources: ["\'a\'"]', 'capabilities.0.max_uses: too small: expected number to be >=1'],
  ['ttl: 8d, resources: ["\'a\'"]', 'capabilities.0.ttl: must be between 1s and 7d'],
])('%s is refused at load, with its place', (fields, expected) => {
  const problems = problemsOf(policyText(when('a', 'true', `decision: dispatch, capabilities: [${one(fields)}]`)));
  expect(problems).toEqual([expect.stringMatching(/^line 4, column \d+: rule a: /)]);
  expect(problems[0]!.replace(/^line 4, column \d+: rule a: /, '')).toBe(expected);
});

test('what would fill the trigger line is refused at load', () => {
  const wide = many(20, (index) => `{ hook: h${index}, operations: [${'o'.repeat(64)}], resources: ["'a'"] }`);
  const problems = problemsOf(policyText(when('a', 'true', `decision: dispatch, capabilities: [${wide}]`)));
  expect(problems).toEqual([
    expect.stringMatching(
      /: capabilities: hooks and operations take 1\d{3} bytes of the trigger line; at most 1500 are/,
    ),
  ]);
  const grants = many(33, () => one('resources: ["\'a\'"]'));
  expect(problemsOf(policyText(when('a', 'true', `decision: dispatch, capabilities: [${grants}]`)))).toEqual([
    expect.stringMatching(/capabilities: too big/),
  ]);
});

test('grants that hold themselves are refused', () => {
  for (const cyclic of [
    'capabilities: &c [*c]',
    'capabilities: &c [{ hook: h, operations: [read], resources: *c }]',
    'capabilities: [&c { hook: h, operations: [read], resources: [*c] }]',
    'capabilities: [{ hook: h, operations: [read], resources: &r [*r] }]',
  ]) {
    const problems = problemsOf(policyText(when('a', 'true', `decision: dispatch, ${cyclic}`)));
    expect(problems.length).toBeGreaterThan(0);
    for (const problem of problems) expect(problem).toMatch(/^line \d+, column \d+: /);
  }
});

test('a hook is of one kind in a policy', () => {
  const text = policyText(
    when('a', 'true', `decision: dispatch, capabilities: [${one('resources: ["\'a\'"]')}]`),
    when('b', 'true', `decision: dispatch, capabilities: [${one('kind: mutation, resources: ["\'a\'"]')}]`),
  );
  expect(problemsOf(text)).toEqual([
    expect.stringMatching(/^line 5, column \d+: rule b: capabilities\.0\.kind: this hook is a context hook above/),
  ]);
});

test('a trigger line names each hook once, with all its operations', () => {
  expect(
    offeredCapabilities([
      { hook: 'b', operations: ['x', 'y'] },
      { hook: 'a', operations: ['z'] },
      { hook: 'b', operations: ['y', 'w'] },
    ]),
  ).toEqual([
    { hook: 'b', operations: ['x', 'y', 'w'] },
    { hook: 'a', operations: ['z'] },
  ]);
});
