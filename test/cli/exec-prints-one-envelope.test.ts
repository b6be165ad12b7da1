import type { ExecutionEnvelope } from '../../contracts/execution';
import { commandLine } from '../support/command-line';

test.each([
  [0, 'completed', ['--', 'sh', '-c', 'echo out; echo err >&2']],
  [1, 'failed', ['--', 'sh', '-c', 'exit 9']],
  [3, 'refused', ['--sandbox', 'locked-down', '--', 'true']],
  [3, 'refused', ['--backend', 'container', '--image', '--privileged', '--', 'true']],
  [3, 'refused', []],
])('exit code %d for a command that is %s: %j', async (code, status, args) => {
  const run = await commandLine(['exec', '--json', ...args]);
  expect(run.code).toBe(code);
  const envelope = JSON.parse(run.stdout) as ExecutionEnvelope;
  expect(envelope.status).toBe(status);
  expect(run.stdout.trim().split('\n')).toHaveLength(1);
  if (code === 0) expect(run.stderr).toBe('out\nerr\n');
});

test.each([
  ['a backend that is not there', ['--backend', 'nope', '--', 'true'], 'unknown execution backend nope'],
  ['a profile that is not there', ['--sandbox', 'nope', '--', 'true'], 'sandbox-profile-not-found'],
  ['a profile outside the folder', ['--sandbox', '../p.json', '--', 'true'], 'sandbox-profile-path-escape'],
])('%s is wrong use, and nothing runs', async (_, args, why) => {
  const run = await commandLine(['exec', '--json', ...args]);
  expect([run.code, run.stdout]).toEqual([2, '']);
  expect(run.stderr).toContain(why);
});
