import { spawn } from 'node:child_process';
import path from 'node:path';
import type { ExecutionEnvelope } from '../../contracts/execution';
import { temporaryFolder } from '../support/temporary-folder';

const BIN = path.resolve(__dirname, '../../bin/workloadd.js');

function workloadd(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [BIN, ...args], { cwd: temporaryFolder(), stdio: ['ignore', 'pipe', 'pipe'] });
  const text = { stdout: '', stderr: '' };
  child.stdout.on('data', (chunk: Buffer) => (text.stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()));
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...text })));
}

test.each([
  [0, 'completed', ['--', 'sh', '-c', 'echo out; echo err >&2']],
  [1, 'failed', ['--', 'sh', '-c', 'exit 9']],
  [3, 'refused', ['--sandbox', 'locked-down', '--', 'true']],
  [3, 'refused', ['--backend', 'container', '--image', '--privileged', '--', 'true']],
  [3, 'refused', []],
])('exit code %d for a command that is %s: %j', async (code, status, args) => {
  const run = await workloadd('exec', '--json', ...args);
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
  const run = await workloadd('exec', '--json', ...args);
  expect([run.code, run.stdout]).toEqual([2, '']);
  expect(run.stderr).toContain(why);
});
