import { readFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { StdoutDigest, textDigest } from '../../domain/execution/evidence';
import { nodeBackend } from '../../executors/node/node-backend';
import { eventually } from '../support/eventually';
import { temporaryFolder } from '../support/temporary-folder';
import { execute } from './harness';

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]![0] !== 'Z';
  } catch {
    return false;
  }
};

/** A kill is sent before the end is told; the kernel carries it out at its own time. */
const gone = (pid: number): Promise<void> => eventually(() => expect(isAlive(pid)).toBe(false));

/** A command that ignores requests to end, with a child that does so too; both write their pid. */
const stubborn = (cwd: string): { command: string; args: string[]; pids: () => number[] } => ({
  command: 'sh',
  args: [
    '-c',
    `trap '' TERM; echo $$ > ${cwd}/a; sh -c 'trap "" TERM; echo $$ > ${cwd}/b; while :; do sleep 1; done' & while :; do sleep 1; done`,
  ],
  pids: () => ['a', 'b'].map((name) => Number(readFileSync(path.join(cwd, name), 'utf8'))),
});

test('a timeout ends the whole group, also what does not listen', async () => {
  const cwd = temporaryFolder();
  const { pids, ...request } = stubborn(cwd);
  const { status, evidence, result } = await execute(nodeBackend, { ...request, cwd, timeoutMs: 500 });
  expect([status, evidence[1]]).toEqual(['failed', 'exitCode:null']);
  expect(result.summary).toBe('sh: failed (timed out after 500 ms)');
  for (const pid of pids()) await gone(pid);
}, 20_000);

test('a cancel ends it', async () => {
  const cwd = temporaryFolder();
  const stop = new AbortController();
  const running = execute(
    nodeBackend,
    { command: 'sh', args: ['-c', `echo $$ > ${cwd}/a; sleep 60`], cwd },
    { context: { signal: stop.signal } },
  );
  const pid = await eventually(() => {
    const seen = Number(readFileSync(path.join(cwd, 'a'), 'utf8'));
    expect(seen).toBeGreaterThan(0);
    return seen;
  });
  stop.abort();
  expect((await running).result.summary).toBe('sh: failed (cancelled)');
  await gone(pid);
});

test('what a command leaves behind in its group is ended with it', async () => {
  const cwd = temporaryFolder();
  const { status } = await execute(nodeBackend, { command: 'sh', args: ['-c', `sleep 60 & echo $! > ${cwd}/a`], cwd });
  expect(status).toBe('completed');
  await gone(Number(readFileSync(path.join(cwd, 'a'), 'utf8')));
});

test('output over the limit ends the same way each time, whatever the command does then', async () => {
  const cwd = temporaryFolder();
  const limit = 32 * 1024 * 1024;
  const print = (bytes: number) =>
    execute(nodeBackend, { command: 'head', args: ['-c', `${bytes}`, '/dev/zero'], cwd });
  const full = await print(limit);
  expect(full.status).toBe('completed');
  for (const bytes of [limit + 1, limit * 2]) {
    const { status, evidence } = await print(bytes);
    expect([status, evidence[1], evidence[2]]).toEqual(['failed', 'exitCode:null', full.evidence[2]]);
  }
});

test('a command gets PATH and HOME and no variable of the service', async () => {
  const printed: Buffer[] = [];
  await execute(
    nodeBackend,
    { command: 'env', cwd: temporaryFolder() },
    {
      context: {
        hostEnv: { PATH: process.env.PATH, HOME: '/home/x', WORKLOADD_DATABASE_URL: 'secret', SHELL: '/bin/sh' },
        output: (_, chunk) => void printed.push(Buffer.from(chunk)),
      },
    },
  );
  const names = Buffer.concat(printed)
    .toString()
    .trim()
    .split('\n')
    .map((line) => line.split('=')[0]);
  expect(names.sort()).toEqual(['HOME', 'PATH']);
});

test('the digest does not depend on how the output was cut into pieces', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.array(fc.nat(200), { maxLength: 6 }), (bytes, cuts) => {
      const digest = new StdoutDigest();
      let from = 0;
      for (const to of [...cuts.sort((a, b) => a - b), bytes.length]) {
        digest.add(bytes.subarray(from, to));
        from = Math.max(from, Math.min(to, bytes.length));
      }
      expect(digest.end()).toBe(textDigest(Buffer.from(bytes).toString('utf8')));
    }),
    { numRuns: 500 },
  );
});
