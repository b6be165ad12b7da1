import fc from 'fast-check';
import { readFile, writeFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { checkPolicyFile } from '../../cli/policy-check';
import { parsePolicy } from '../../domain/policy/parse';
import type { PolicyInvalid } from '../../domain/policy/policy-invalid';
import { policyText, problemsOf, when } from '../support/policy';

const EVERYTHING_WRONG = `version: 2
defaults: { decision: ignore }
default: { decision: dispatch }
rules:
  - id: Not A Slug
    when: event.sorce == "rss"
    decision: dispatch
  - id: two
    when: >-
      event.source == "x" &&
      event.data.s.matches("a+")
    decision: run
    extra: 1
    to: { pool: nope, executor: docker, priority: 9 }
  - id: two
    when: |
      event.source ==
        "x" && nope == 1
    decision: ignore
    hold: {}
    dedupe: { key: "event.source + \\":\\" + foo", window: 366d, on_duplicate: merge }
    deadlines: { run: 13h, start: 5 }
  - when: 'event.data.x == ''a'' && event.date == 1'
    decision: deny
`;

test('every problem of a document is reported, each with its line, column and rule', () => {
  expect(problemsOf(EVERYTHING_WRONG, ['default'])).toEqual([
    'line 1, column 10: version: must be 1',
    'line 2, column 1: defaults: unknown field',
    'line 3, column 22: default.decision: must be ignore or deny',
    expect.stringMatching(/^line 5, column 9: rule Not A Slug: id: must be lower case letters/),
    expect.stringMatching(/^line 6, column 11: rule Not A Slug: when: event has no field "sorce"/),
    expect.stringMatching(/^line 11, column 7: rule two: when: matches\(\) is not available.*glob/),
    'line 12, column 15: rule two: decision: must be one of dispatch, ignore, deny, hold',
    'line 13, column 5: rule two: extra: unknown field',
    'line 14, column 17: rule two: to.pool: there is no pool "nope"; known: default',
    'line 14, column 33: rule two: to.executor: must be one of opencrow, node, container, remote, ci, managed',
    'line 14, column 51: rule two: to.priority: must be 1 to 5',
    'line 15, column 9: rule two: id: this id is used twice: already on line 8',
    'line 18, column 16: rule two: when: Unknown variable: nope',
    'line 21, column 44: rule two: dedupe.key: Unknown variable: foo',
    'line 21, column 58: rule two: dedupe.window: must be between 0s and 365d',
    'line 21, column 78: rule two: dedupe.on_duplicate: must be one of drop, queue, supersede, coalesce',
    'line 22, column 35: rule two: deadlines.start: must be a duration such as 30m, 24h or 1h30m',
    'line 23, column 5: rule #4: id: is required',
    expect.stringMatching(/^line 23, column 37: rule #4: when: event has no field "date"/),
  ]);
});

test('problems point into the document', () => {
  try {
    parsePolicy(EVERYTHING_WRONG);
    throw new Error('accepted');
  } catch (error) {
    const { problems } = error as PolicyInvalid;
    expect(problems.find((problem) => problem.detail.includes('sorce'))).toMatchObject({
      pointer: '/rules/0/when',
      rule_id: 'Not A Slug',
      line: 6,
      column: 11,
    });
  }
});

test.each([
  ['not closed', 'version: 1\nrules: [\n', /line \d/],
  ['a tab as indent', 'version: 1\ndefault:\n\tdecision: ignore\nrules: []', /line 3/],
  ['a key twice', 'version: 1\nversion: 1', /line 2, column 1: Map keys must be unique/],
  ['two documents', 'version: 1\n---\nversion: 1', /only one document/],
  ['a tag', 'version: !!js/function x', /Unresolved tag/],
  ['empty', '', /expected object/],
  ['a list', '- 1', /expected object/],
  ['NUL', 'version: 1\0', /NUL/],
  ['an escaped NUL', 'version: 1\ndefault: { decision: ignore, reason: "a\\0" }\nrules: []', /line 2.*NUL/],
  ['a lone surrogate', 'version: 1 # \ud800', /surrogate/],
  [
    'a prototype key',
    'version: 1\n__proto__: { x: 1 }\ndefault: { decision: ignore }\nrules: []',
    /__proto__: unknown field/,
  ],
  ['deep nesting', '['.repeat(20_000), /line 1/],
  ['too large', `# ${'x'.repeat(300_000)}`, /bytes long/],
  ['no default', 'version: 1\nrules: []', /default: is required/],
  ['a bool for an expression', policyText('{ id: a, when: true, decision: ignore }'), /in quotes/],
  [
    'alias bomb',
    ['a: &a [x,x,x,x,x,x]', 'b: &b [*a,*a,*a,*a,*a,*a]', 'c: &c [*b,*b,*b,*b,*b,*b]', 'd: [*c,*c,*c,*c,*c,*c]'].join(
      '\n',
    ),
    /alias/,
  ],
])('%s is refused', (_name, text, expected) => {
  expect(problemsOf(text).join('\n')).toMatch(expected);
});

test('a document may hold 1,000 rules and no more', () => {
  const rules = (count: number) => policyText(...Array.from({ length: count }, (_, at) => when(`r${at}`, 'true')));
  expect(parsePolicy(rules(1000)).policy.rules).toHaveLength(1000);
  expect(problemsOf(rules(1001)).join()).toMatch(/rules/);
});

test.each([
  ['event.data.flag', /must be bool, is dyn: compare it/],
  ['"text"', /must be bool, is string/],
  ['event.source == 5', /no such overload: string == int/],
  ['event.source ==', /Unexpected token/],
  ['has(event.sorce)', /no field "sorce"/],
  ['event["source"] == "x"', /write event\.source/],
  ['event.data.files + 1 > 2', /JSON numbers are doubles/],
  ['event.data.files % 2 == 0', /int\(event\.data/],
  ['duration(event.data.d) > duration("1s")', /literal/],
  ['glob(event.source, event.data.pattern)', /literal/],
  ['event.data.l.join(event.data.s) == ""', /literal/],
  ['event.data.s.lastIndexOf("x") > 0', /lastIndexOf\(\) is not available/],
  ['event.data.l.exists(event, event == 1)', /cannot be a variable/],
  ['event.data.l.exists(x, x.matches("a"))', /matches/],
  ['bytes(event.source).size() > 1', /bytes\(\) is not available/],
  ['('.repeat(60) + 'true' + ')'.repeat(60), /./],
])('expression %s is refused at load', (expression, expected) => {
  expect(problemsOf(policyText(when('a', expression))).join('\n')).toMatch(expected);
});

test.each([
  ['dedupe: { key: "1" }', /must be string, is int: wrap it/],
  ['dedupe: { key: "event.data.id", on_duplicate: replace }', /one of drop, queue, supersede, coalesce/],
  ['dedupe: { key: "event.data.id", on_duplicate: queue, window: 1h }', /no effect with on_duplicate: queue/],
  ['limits: {}', /must name concurrency or rate/],
  ['limits: { concurrency: { max: 0 } }', /must be 1 to 1000/],
  ['limits: { concurrency: { max: 1.5 } }', /whole number/],
  ['limits: { rate: { max: 5 } }', /limits\.rate\.per|per: /],
  ['limits: { rate: { max: 5, per: 0s } }', /between 1s and 30d/],
  ['limits: { rate: { max: 5, per: 1h, key: event.data.n + 1.0 } }', /must be string, is double: wrap it/],
  ['limits: { concurrency: { max: 1, key: event.sorce } }', /no field "sorce"/],
  ['debounce: { for: 10s, key: nothing }', /nothing/],
  ['debounce: { for: 10s, max_wait: 10s }', /must be longer than for \(10s\)/],
  ['debounce: { for: 1h }, deadlines: { queued: 30m }', /not shorter than the queued or total deadline \(30m\)/],
  ['debounce: { for: 1m, max_wait: 12h }', /max_wait.*not shorter/],
  ['debounce: { for: 1m }, dedupe: { key: event.source, on_duplicate: coalesce }', /does not go with/],
  ['debounce: { for: 1m, key: event.source }, dedupe: { key: event.source }', /drops each later event/],
  [
    'dedupe: { key: event.source, on_duplicate: queue }, limits: { concurrency: { max: 2, key: event.source } }',
    /one at a time for this key/,
  ],
  ['hold: {}', /only with decision hold/],
  ['deadlines: { run: 24h }', /longer than the default total \(12h\)/],
  ['deadlines: { run: 2h, total: 1h }', /longer than total \(1h\)/],
  ['deadlines: { start: 0s }', /between 1s and 90d/],
  ['retry: { max_deliveries: 3 }', /no effect without redeliver_on/],
  ['retry: { redeliver_on: [lost], max_deliveries: 1 }', /at least 2/],
  ['retry: { redeliver_on: [completed] }', /redeliver_on/],
  ['trigger: { include: [a, a] }', /twice/],
  ['capabilities: [{ hook: h, operations: [read], resources: ["1 + 1"] }]', /must be string, is int/],
  ['capabilities: [{ hook: h, operations: [], resources: ["\'a\'"] }]', /operations/],
])('%s is refused', (field, expected) => {
  expect(problemsOf(policyText(when('a', 'true', `decision: dispatch, ${field}`))).join('\n')).toMatch(expected);
});

test('a pool is asked for only where known pools are given, and the default pool only by rules that dispatch', () => {
  const text = policyText(when('a', 'true', 'decision: ignore'), when('b', 'true'));
  expect(parsePolicy(text).policy.rules).toHaveLength(2);
  expect(problemsOf(text, ['other'])).toEqual([expect.stringMatching(/rule b: to\.pool: there is no pool "default"/)]);
});

test('any text is either a policy or a list of problems inside it', () => {
  const line = fc.constantFrom(
    'version: 1',
    'rules:',
    '  - id: a',
    '    when: "true',
    '{',
    '- *x',
    '\t',
    'a: &x b',
    '? [',
    '"\\u',
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(line, { maxLength: 8 }).map((lines) => lines.join('\n')),
      ),
      (text) => {
        const problems = problemsOf(text);
        expect(problems.length).toBeGreaterThan(0);
        expect(problems.every((problem) => /^line [1-9]\d*, column [1-9]\d*: /.test(problem))).toBe(true);
      },
    ),
  );
});

describe('checkPolicyFile', () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'policy-'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  test('shows file, line, column and a caret below the fault', async () => {
    const file = join(folder, 'bad.yaml');
    await writeFile(file, policyText('{ id: a, when: event.sorce == "x", decision: ignore }'));
    const { ok, text } = await checkPolicyFile(file);
    expect(ok).toBe(false);
    expect(text).toContain(`${file}:4:20: rule a, when: event has no field "sorce"`);
    const [, source, caret] = text.split('\n');
    expect(source!.slice(caret!.indexOf('^'))).toMatch(/^event\.sorce/);
  });

  test('accepts the example, and says so of a file it cannot read', async () => {
    const example = join(__dirname, '../../examples/policy.yaml');
    const { hash } = parsePolicy(await readFile(example, 'utf8')).policy;
    expect(await checkPolicyFile(example)).toEqual({ ok: true, text: expect.stringContaining(hash) });
    expect(await checkPolicyFile(join(folder, 'none'))).toEqual({
      ok: false,
      text: expect.stringContaining('no such file'),
    });
    await writeFile(join(folder, 'latin1'), Buffer.from([0xe9, 0x3a]));
    expect(await checkPolicyFile(join(folder, 'latin1'))).toEqual({
      ok: false,
      text: expect.stringContaining('UTF-8'),
    });
  });
});
