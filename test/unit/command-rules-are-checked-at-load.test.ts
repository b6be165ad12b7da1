import { parsePolicy } from '../../domain/policy/parse';
import type { PolicyInvalid } from '../../domain/policy/policy-invalid';
import { policyText, problemsOf, when } from '../support/policy';

const problems = (executor: string, run: string | null, rest = ''): string[] =>
  problemsOf(
    policyText(
      when(
        'a',
        'true',
        `decision: dispatch, to: { executor: ${executor} }${run === null ? '' : `, run: ${run}`}${rest}`,
      ),
    ),
  ).map((line) => line.replace(/^line \d+, column \d+: rule a: /, ''));

test('a problem has its line, column, rule and pointer', () => {
  const text = `version: 1
default: { decision: ignore }
rules:
  - id: build
    when: "true"
    decision: dispatch
    to: { executor: container }
    run:
      command: make
      args: [all, { cel: event.sorce }]
      image: --privileged
`;
  try {
    parsePolicy(text);
    throw new Error('accepted');
  } catch (error) {
    expect((error as PolicyInvalid).problems).toEqual([
      {
        ...{ line: 10, column: 26, rule_id: 'build', pointer: '/rules/0/run/args/1/cel' },
        detail: expect.stringContaining('event has no field "sorce"'),
      },
      {
        ...{ line: 11, column: 14, rule_id: 'build', pointer: '/rules/0/run/image' },
        detail: 'the image must be a name such as registry:5000/team/tool:tag',
      },
    ]);
  }
});

test.each<[executor: string, run: string | null, rest: string, problem: unknown]>([
  ['node', null, '', 'run: is required with executor node'],
  ['opencrow', '{ command: x }', '', 'run: is only for executors that run a command; opencrow takes a trigger'],
  ['managed', '{ command: x }', '', 'run: is only for executors that run a command; managed takes a trigger'],
  [
    'node',
    '{ command: x }',
    ', trigger: { prompt: x }',
    'trigger: has no effect with executor node, which runs a command: say run',
  ],
  ['node', '{}', '', 'run.command: is required'],
  ['node', '{ command: "" }', '', 'run.command: must not be empty'],
  ['node', '{ command: 5 }', '', 'run.command: must be text'],
  ['node', '{ command: { cel: "1" } }', '', 'run.command.cel: must be string, is int: wrap it in string(…)'],
  ['node', '{ command: x, shell: true }', '', 'run.shell: unknown field'],
  ['node', '{ command: x, args: "a b" }', '', 'run.args: must be a list of arguments, or { cel: "…" } for all of them'],
  ['node', '{ command: x, args: [1] }', '', 'run.args.0: must be text in quotes, or { cel: "…" }'],
  ['node', '{ command: x, args: ["a\\0b"] }', '', 'run.args.0: must not hold NUL or lone surrogates'],
  ['node', '{ command: x, args: { cel: "[1]" } }', '', 'run.args.cel: must be list<string>, is list<int>'],
  [
    'node',
    `{ command: x, args: [${'a'.repeat(131_072)}] }`,
    '',
    'run.args: command and arguments have 131075 bytes, the limit is 131072',
  ],
  [
    'node',
    '{ command: x, cwd: /etc }',
    '',
    'run.cwd: the working folder must lie in the workspace: relative, without ..',
  ],
  ['node', '{ command: x, cwd: a/../../b }', '', expect.stringContaining('run.cwd: the working folder must lie')],
  ['container', '{ command: x, image: a, cwd: "a:b" }', '', expect.stringContaining('run.cwd: must not hold a colon')],
  ['node', '{ command: x, timeout: -5 }', '', 'run.timeout: must be a duration such as 30m, 24h or 1h30m'],
  ['node', '{ command: x, timeout: 0s }', '', 'run.timeout: must be between 1s and 7d'],
  [
    'node',
    '{ command: x, timeout: 2h }',
    '',
    'run.timeout: is not shorter than the run deadline (2h), which would end the work first: raise deadlines.run',
  ],
  [
    'node',
    '{ command: x, timeout: 1h }',
    ', deadlines: { total: 1h }',
    'run.timeout: is not shorter than the total deadline (1h), which would end the work first: raise deadlines.total',
  ],
  ['container', '{ command: x }', '', 'run.image: is required with executor container'],
  ['container', '{ command: x, image: a, digest: sha256 }', '', expect.stringContaining('run.digest: the digest must')],
  ['node', '{ command: x, image: a }', '', 'run.image: is only for executor container'],
  ['remote', '{ command: x }', '', 'run.endpoint: is required with executor remote'],
  ['ci', '{ command: x, job_id: j }', '', 'run.endpoint: is required with executor ci'],
  ['node', '{ command: x, job_id: j }', '', 'run.job_id: is only for executor remote or ci'],
  ['node', '{ command: x, completion: poll }', '', 'run.completion: is only for executor remote or ci'],
  [
    'remote',
    '{ command: x, endpoint: "https://me:pw@runner" }',
    '',
    expect.stringContaining('run.endpoint: the endpoint must hold no user and no password'),
  ],
  ['remote', '{ command: x, endpoint: ftp://runner }', '', 'run.endpoint: the endpoint must be an http or https URL'],
  ['node', '{ command: x, sandbox: ../x }', '', 'run.sandbox: must be the id of a sandbox profile'],
  ['node', '{ command: x, env: [A, A] }', '', 'run.env: must not repeat an entry'],
  ['node', '{ command: x, env: [A=B] }', '', 'run.env.0: must be the name of an environment variable'],
  ['node', '{ command: x, rerunnable: yes please }', '', 'run.rerunnable: must be true or false'],
  [
    'node',
    '{ command: x }',
    ', retry: { redeliver_on: [failed, lost] }',
    expect.stringContaining('retry.redeliver_on.1: a lost command may have run'),
  ],
  [
    'node',
    '{ command: x, rerunnable: true }',
    ', retry: { max_deliveries: 1 }',
    'retry.max_deliveries: must be at least 2 with run.rerunnable, or nothing is ever redelivered',
  ],
])('%s %.80s%s', (executor, run, rest, problem) => {
  expect(problems(executor, run, rest)).toEqual([problem]);
});

test.each(['sandbox', 'endpoint', 'env', 'timeout', 'rerunnable', 'completion'])(
  'an event has no say in %s',
  (field) => {
    const run = { command: 'x', endpoint: 'https://runner', [field]: { cel: 'event.data.x' } };
    expect(problems('remote', JSON.stringify(run))).toEqual([expect.stringMatching(`^run\\.${field}: must be`)]);
  },
);

test('managed work takes a trigger, and may be redelivered after any end', () => {
  const rest = ', trigger: { prompt: x }, retry: { redeliver_on: [lost, failed, aborted] }';
  const text = policyText(when('a', 'true', `decision: dispatch, to: { executor: managed }${rest}`));
  expect(() => parsePolicy(text)).not.toThrow();
});
