import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { explainPolicy } from '../../domain/policy/explain';
import { parsePolicy } from '../../domain/policy/parse';
import { eventOf, policyOf, when } from '../support/policy';

const tenant = 'default';
const DIGEST = `sha256:${'0'.repeat(64)}`;

/** A policy of one rule with this `run` block, which is JSON and so YAML. */
const ruleOf = (run: object, executor = 'node', rest = '') =>
  policyOf(when('a', 'true', `decision: dispatch, to: { executor: ${executor} }, run: ${JSON.stringify(run)}${rest}`));
const evaluated = (run: object, data: unknown, executor?: string) =>
  evaluatePolicy(ruleOf(run, executor), eventOf(data), { tenant });

test('a command of four fields gets every documented default, and its sources are kept beside what they came to', () => {
  const run = { command: 'make', args: ['-C', { cel: 'event.data.folder' }] };
  const evaluation = evaluated(run, { folder: 'a b' });
  expect(evaluation).toMatchObject({ decision: 'dispatch', grants: [] });
  expect(evaluation.run).toEqual({
    command: 'make',
    args: ['-C', 'a b'],
    cwd: '.',
    sandbox: 'default',
    timeout: null,
    image: null,
    digest: null,
    endpoint: null,
    job_id: null,
    env: null,
    rerunnable: false,
    completion: 'poll',
  });
  expect(evaluation.rule?.to.executor).toBe('node');
  expect(evaluation.rule?.run).toEqual({ ...evaluation.run, args: run.args });
});

test('every field that an event may choose is chosen by it', () => {
  const cel = (field: string) => ({ cel: `event.data.${field}` });
  const container = { command: cel('program'), args: cel('words'), cwd: cel('folder'), image: cel('image') };
  const data = { program: 'tar', words: ['x', ''], folder: 'a/b', image: 'alpine:3', digest: DIGEST, job: 'j 1' };
  expect(evaluated({ ...container, digest: cel('digest') }, data, 'container').run).toMatchObject({
    command: 'tar',
    args: ['x', ''],
    cwd: 'a/b',
    image: 'alpine:3',
    digest: DIGEST,
  });
  const remote = { command: 'x', endpoint: 'https://runner.example/jobs', job_id: cel('job'), completion: 'webhook' };
  expect(evaluated(remote, data, 'remote').run).toMatchObject({
    endpoint: 'https://runner.example/jobs',
    job_id: 'j 1',
    completion: 'webhook',
  });
});

const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '',
    ' ',
    '$(id)',
    '`id`',
    "'",
    '"',
    '; rm -rf /',
    '--help',
    'a b',
    '*',
    '\n',
    '\\',
    '{{x}}',
    '${HOME}',
  ),
);
const usable = hostile.filter((value) => !/[\0\p{Cs}]/u.test(value));

test('whatever an event holds, a list of arguments keeps its length, and each text arrives to the letter', () => {
  const policy = ruleOf({ command: 'x', args: ['first', { cel: 'event.data.a' }, '--', { cel: 'event.data.b' }] });
  fc.assert(
    fc.property(usable, usable, (a, b) => {
      expect(evaluatePolicy(policy, eventOf({ a, b }), { tenant }).run?.args).toEqual(['first', a, '--', b]);
    }),
    { numRuns: 500 },
  );
});

test('any JSON in the place of an argument is one argument to the letter, or the work is denied', () => {
  const policy = ruleOf({ command: 'x', args: [{ cel: 'event.data.a' }, 'last'] });
  fc.assert(
    fc.property(fc.oneof(hostile, fc.jsonValue()), (a) => {
      const { decision, reason, run } = evaluatePolicy(policy, eventOf({ a: a as string }), { tenant });
      if (run) expect(run.args).toEqual([a, 'last']);
      else expect({ decision, reason }).toEqual({ decision: 'deny', reason: 'run_error' });
    }),
    { numRuns: 500 },
  );
});

test.each([
  ['a missing field', { command: { cel: 'event.data.none' } }, 'run.command:no_such_key'],
  ['a number', { command: { cel: 'event.data.n' } }, 'run.command:not_a_string'],
  ['an empty command', { command: { cel: 'event.data.empty' } }, 'run.command:empty'],
  ['a long command', { command: { cel: 'event.data.long' } }, 'run.command:too_long'],
  ['NUL in an argument', { command: 'x', args: ['a', { cel: 'event.data.nul' }] }, 'run.args.1:unprintable'],
  ['half a surrogate pair', { command: 'x', args: [{ cel: 'event.data.half' }] }, 'run.args.0:unprintable'],
  ['arguments that are no list', { command: 'x', args: { cel: 'event.data.n' } }, 'run.args:not_a_list'],
  ['a list with a number', { command: 'x', args: { cel: 'event.data.mixed' } }, 'run.args.1:not_a_string'],
  ['too many arguments', { command: 'x', args: { cel: 'event.data.many' } }, 'run.args:too_long'],
  [
    'too much of them together',
    { command: 'x', args: Array(6).fill({ cel: 'event.data.long' }) },
    'run.args.4:too_long',
  ],
  ['too many bytes together', { command: 'x', args: [{ cel: 'event.data.wide' }] }, 'run.args:too_long'],
  ['a folder above', { command: 'x', cwd: { cel: 'event.data.above' } }, 'run.cwd:invalid'],
  ['an absolute folder', { command: 'x', cwd: { cel: '"/" + event.data.folder' } }, 'run.cwd:invalid'],
])('%s makes the work denied, and the trace says where', (_what, run, error) => {
  const data = {
    ...{ n: 1, empty: '', nul: 'a\0b', half: '\ud800', mixed: ['a', 1], many: Array(1001).fill('a') },
    ...{ long: 'SECRET'.repeat(5000), wide: '漢'.repeat(50_000), above: 'a/../../b', folder: 'a' },
  };
  const { evaluation, rules } = explainPolicy(ruleOf(run), eventOf(data), { tenant });
  expect(evaluation).toMatchObject({ decision: 'deny', reason: 'run_error', run: null, grants: [], dedupeKey: null });
  expect(evaluation.trace).toEqual([{ ruleId: 'a', outcome: 'matched', error }]);
  const [field, code] = error.split(':');
  expect(rules[0]!.text).toBe(`matched, but its ${field} has no usable value (${code}): denied`);
});

test.each([
  ['image', '--privileged'],
  ['image', 'alpine '],
  ['digest', 'sha256:ab'],
])('an event cannot make %s %j', (field, value) => {
  const run = { command: 'x', image: 'alpine', [field]: { cel: 'event.data.value' } };
  expect(evaluated(run, { value }, 'container')).toMatchObject({
    decision: 'deny',
    trace: [{ error: `run.${field}:invalid` }],
  });
});

test('what is refused or ignored is not filled in', () => {
  const rest = 'decision: ignore, to: { executor: node }, run: { command: { cel: event.data.none } }';
  expect(evaluatePolicy(policyOf(when('a', 'true', rest)), eventOf({}), { tenant })).toMatchObject({
    decision: 'ignore',
    run: null,
  });
});

test('a command that may run twice is redelivered when it is lost', () => {
  const retryOf = (run: object, rest = '') => ruleOf({ command: 'x', ...run }, 'node', rest).rules[0]!.snapshot.retry;
  expect(retryOf({})).toEqual({ redeliver_on: [], max_deliveries: 1 });
  expect(retryOf({ rerunnable: true })).toEqual({ redeliver_on: ['lost'], max_deliveries: 2 });
  expect(retryOf({ rerunnable: true }, ', retry: { redeliver_on: [failed, lost], max_deliveries: 3 }')).toEqual({
    redeliver_on: ['failed', 'lost'],
    max_deliveries: 3,
  });
  expect(retryOf({ rerunnable: true }, ', retry: { redeliver_on: [failed], max_deliveries: 3 }')).toEqual({
    redeliver_on: ['failed', 'lost'],
    max_deliveries: 3,
  });
});

describe('the example policy of commands', () => {
  const text = readFileSync(path.join(__dirname, '../../examples/commands-policy.yaml'), 'utf8');
  const { policy } = parsePolicy(text, { knownPools: ['default'] });
  test.each([
    [
      ...['routine', 'disk.check', { path: '-rf' }, 'dispatch', 'disk-check'],
      { command: 'df', args: ['-h', '--', '-rf'], timeout: 60_000, rerunnable: true },
    ],
    [
      ...[
        'github',
        'pull_request.opened',
        { repository: 'acme/api', head_sha: 'abc' },
        'dispatch',
        'lint-pull-request',
      ],
      { cwd: 'checkouts/abc', image: 'node:24', sandbox: 'readonly' },
    ],
    ['github', 'pull_request.opened', { repository: 'acme/api', head_sha: '../..' }, 'deny', 'lint-pull-request', null],
    ['drive', 'changed', { files: ['a b', 'c'] }, 'dispatch', 'index-files', { args: ['--', 'a b', 'c'] }],
    ['drive', 'changed', { files: [1] }, 'deny', 'index-files', null],
    [
      ...['github', 'tag.created', { tag: 'v1' }, 'hold', 'deploy-tag'],
      { args: ['--', 'v1'], job_id: 'deploy-e-1', completion: 'webhook' },
    ],
  ] as [string, string, object, string, string, object | null][])(
    '%s %s %j',
    (source, action, data, decision, ruleId, run) => {
      const evaluation = evaluatePolicy(policy, eventOf(data, { source, action }), { tenant });
      expect(evaluation).toMatchObject({ decision, ruleId, run });
    },
  );
});
