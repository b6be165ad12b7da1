import { existsSync } from 'node:fs';
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

test('bad input is refused with its code before anything runs', async () => {
  const touch = ['--', 'touch', 'it-ran'];
  const remote = (endpoint: string): string[] => ['--backend', 'remote', '--endpoint', endpoint, ...touch];
  const cases: [string, string[]][] = [
    ['no-command', ['--', '']],
    ['invalid-argument', [...touch, ...Array<string>(16).fill('x'.repeat(65_536))]],
    ['invalid-timeout', ['--timeout-ms=-1', ...touch]],
    ['invalid-timeout', ['--timeout-ms=soon', ...touch]],
    ['invalid-image', ['--backend', 'container', '--image', 'x', '--digest', 'sha256:0', ...touch]],
    ['delegation-target-missing', ['--backend', 'container', ...touch]],
    ['invalid-endpoint', remote('https://user:hidden@runner.example/')],
    ['endpoint-not-allowed', remote('http://10.0.0.1/')],
  ];
  const waiting = [...cases];
  const next = async (): Promise<void> => {
    for (let one = waiting.shift(); one; one = waiting.shift()) {
      const [code, args] = one;
      const run = await commandLine(['exec', '--json', ...args]);
      const { evidence, provenance } = JSON.parse(run.stdout) as ExecutionEnvelope;
      expect([run.code, evidence[0]]).toEqual([3, `refused:${code}`]);
      expect(provenance.outcomeUnknown).toBeUndefined();
      expect(run.stdout + run.stderr).not.toContain('user:hidden');
    }
  };
  await Promise.all([next(), next()]);
  expect(existsSync('it-ran')).toBe(false);
});

test.each([
  ['a backend that is not there', ['--backend', 'nope', '--', 'true'], 'unknown execution backend nope'],
  ['a profile that is not there', ['--sandbox', 'nope', '--', 'true'], 'sandbox-profile-not-found'],
  [
    'an image without its backend',
    ['--image', 'node:24', '--', 'touch', 'it-ran'],
    '--image goes with --backend container',
  ],
  [
    'a runner without its backend',
    ['--endpoint', 'https://r', '--', 'touch', 'it-ran'],
    '--backend remote or --backend ci',
  ],
  ['a profile outside the folder', ['--sandbox', '../p.json', '--', 'true'], 'sandbox-profile-path-escape'],
])('%s is wrong use, and nothing runs', async (_, args, why) => {
  const run = await commandLine(['exec', '--json', ...args]);
  expect([run.code, run.stdout]).toEqual([2, '']);
  expect(run.stderr).toContain(why);
  expect(existsSync('it-ran')).toBe(false);
});
