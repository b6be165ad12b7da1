import { readFileSync } from 'node:fs';
import path from 'node:path';
import { differences, eventOf, type Asked } from '../../cli/via/asked';
import type { ViaRecord } from '../../cli/via/via-record';
import { sourceEvent } from '../../contracts/events';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { parsePolicy } from '../../domain/policy/parse';

const source = readFileSync(path.resolve(__dirname, '../../examples/exec-policy.yaml'), 'utf8');
const { policy } = parsePolicy(source);
const digest = `sha256:${'0'.repeat(64)}`;
const image = 'registry.example.com/tools/node:24';

const judged = (asked: Partial<Asked>) =>
  evaluatePolicy(policy, sourceEvent.parse(eventOf({ backend: 'node', command: 'npm', args: [], ...asked })), {
    tenant: 'default',
  });

test.each<[string, string | null, Partial<Asked>]>([
  ['dispatch', 'exec-readonly-on-host', { args: ['test'] }],
  ['hold', 'exec-publish', { args: ['publish'] }],
  ['deny', 'exec-no-shells', { command: 'sh', args: ['-c', 'true'] }],
  ['ignore', null, { command: 'rm' }],
  ['ignore', null, { sandbox: 'workspace-write' }],
  ['ignore', null, { backend: 'remote' }],
  ['dispatch', 'exec-in-container', { backend: 'container', sandbox: 'readonly', image, digest }],
  ['ignore', null, { backend: 'container', sandbox: 'readonly', image }],
  ['ignore', null, { backend: 'container', sandbox: 'readonly', image: 'elsewhere/tools/node', digest }],
])('%s by %s: %j', (decision, rule, asked) => {
  expect(judged(asked)).toMatchObject({ decision, ruleId: rule });
});

test('what was asked for reaches the command as it was, one argument each', () => {
  const args = ['run', 'two words', '', '$(id)', 'ü;"\'', '--'];
  const { run } = judged({ args, cwd: 'a/b' });
  expect(run).toMatchObject({ command: 'npm', args, cwd: 'a/b', sandbox: 'default', timeout: 600_000 });
});

test.each(['', ' ', 'a\nb', 'x'.repeat(1000), `a${'\u{1F600}'.repeat(200)}`, '\u2028'])(
  'any label gives a valid event: %j',
  (label) => {
    const event = eventOf({ backend: 'node', command: 'true', args: [], label });
    expect(sourceEvent.safeParse(event).success).toBe(true);
  },
);

test('only what was asked for can be told as different', () => {
  const { run } = judged({ args: ['test'] });
  const record = {
    executor: 'node',
    decision: { decision: 'dispatch', reason: '', duplicate_of: null, run },
  } as ViaRecord;
  const asked = { backend: 'node', command: 'npm', args: ['test'] };
  expect(differences(asked, record)).toEqual([]);
  expect(differences({ ...asked, sandbox: 'readonly', timeoutMs: 5 }, record)).toEqual([
    'sandbox default instead of readonly',
    'timeout 600000 instead of 5',
  ]);
  expect(differences({ ...asked, backend: 'container', args: [] }, record)).toEqual([
    'backend node instead of container',
    'command ["npm","test"] instead of ["npm"]',
  ]);
});
