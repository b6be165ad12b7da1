import { existsSync } from 'node:fs';
import path from 'node:path';
import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import { sandboxProfile } from '../../contracts/sandbox-profile';
import { containerBackend } from '../../executors/container/container-backend';
import { nodeBackend } from '../../executors/node/node-backend';
import { eventually } from '../support/eventually';
import { realPodman, type RealPodman } from '../support/podman';
import { temporaryFolder } from '../support/temporary-folder';
import { CONFORMANCE_CASES, type ConformanceCase } from './conformance-cases';
import { canonical, execute } from './harness';

const found = realPodman();
const backend = containerBackend({ runtimes: ['podman'] });

if ('why' in found) test.skip(`podman cannot run containers here (${found.why})`, () => undefined);
else
  describe('with podman', () => {
    const podman: RealPodman = found;
    afterAll(() => podman.remove());
    const { image } = podman;
    const context = { hostEnv: podman.env };
    const containers = (): string[] =>
      podman
        .ask(['ps', '--all', '--format', '{{.Names}}'])
        .split('\n')
        .filter((name) => name !== '');

    test('a container leaves the evidence that a process leaves, in every case', async () => {
      const cwd = temporaryFolder();
      const runCase = async ({ name, request, status }: ConformanceCase): Promise<void> => {
        const [node, container] = await Promise.all([
          execute(nodeBackend, { ...request, cwd }),
          execute(backend, { ...request, cwd, image }, { context }),
        ]);
        expect({ name, status: container.status }).toEqual({ name, status });
        expect({ name, left: canonical(container) }).toEqual({ name, left: canonical(node) });
      };
      const waiting = [...CONFORMANCE_CASES];
      const next = async (): Promise<void> => {
        for (let one = waiting.shift(); one; one = waiting.shift()) await runCase(one);
      };
      await Promise.all([next(), next(), next(), next()]);
    });

    test('the workspace is there and cannot be written, and only exposed variables are', async () => {
      const cwd = temporaryFolder();
      const printed: Buffer[] = [];
      const profile = sandboxProfile.parse({
        schemaVersion: 1,
        id: 'p',
        title: 'p',
        execute: { mode: 'any' },
        env: { expose: ['SHOWN', 'PATH', 'HOME'] },
      });
      const run = await execute(
        backend,
        { command: 'sh', args: ['-c', 'touch here; echo "$SHOWN|$HIDDEN|$PATH|$PWD"'], cwd, image },
        {
          profile,
          context: {
            hostEnv: { ...podman.env, SHOWN: 'shown', HIDDEN: 'hidden', HOME: '/host' },
            output: (stream, chunk) => void (stream === 'stdout' && printed.push(Buffer.from(chunk))),
          },
        },
      );
      expect(run.status).toBe('completed');
      expect(existsSync(path.join(cwd, 'here'))).toBe(false);
      const [shown, hidden, searched, place] = Buffer.concat(printed).toString().trim().split('|');
      expect([shown, hidden, place]).toEqual(['shown', '', cwd]);
      expect(searched).not.toBe(process.env.PATH);
    });

    test.each(['timeout', 'cancel'])('after a %s the container is gone', async (how) => {
      const stop = new AbortController();
      const running = execute(
        backend,
        {
          command: 'sleep',
          args: ['60'],
          cwd: temporaryFolder(),
          image,
          timeoutMs: how === 'timeout' ? 3_000 : 60_000,
        },
        { context: { ...context, signal: stop.signal } },
      );
      if (how === 'cancel') {
        await eventually(() => expect(containers()).toHaveLength(1));
        stop.abort();
      }
      const { evidence, provenance } = await running;
      expect([evidence[0], provenance.outcomeUnknown]).toEqual(['refused:delegation-failed', true]);
      await eventually(() => expect(containers()).toEqual([]));
    });

    test('what a worker left is removed by its next start, and nothing else', async () => {
      podman.ask(['run', '--detach', '--name', 'theirs', image, 'sleep', '60']);
      const runKey = `${'a'.repeat(32)}-1`;
      const running = execute(
        backend,
        { command: 'sleep', args: ['60'], cwd: temporaryFolder(), image },
        { context: { ...context, runKey, workerId: 'wrk-1' } },
      );
      await eventually(() => expect(containers().sort()).toEqual(['theirs', `wl-${runKey}`]));
      const tidy = (workerId: string, over: string[]) =>
        backend.tidy!({
          hostEnv: podman.env,
          workerId,
          runsFolder: '',
          running: () => new Set(),
          over: () => Promise.resolve(over),
          signal: new AbortController().signal,
        });
      expect(await tidy('wrk-2', [])).toEqual([]);
      expect(await tidy('wrk-1', [])).toEqual([runKey]);
      await running;
      await eventually(() => expect(containers()).toEqual(['theirs']));
    });

    test('a pinned digest is taken, and that of a tag is recorded', async () => {
      const digest = podman.ask(['image', 'inspect', '--format', '{{.Digest}}', image]).trim();
      const request = { command: 'true', cwd: temporaryFolder(), image: 'localhost/workloadd-test' };
      const pinned = await execute(backend, { ...request, digest }, { context });
      expect([pinned.status, pinned.provenance.handle?.ref]).toEqual(['completed', `${request.image}@${digest}`]);
      const tagged = await execute(backend, { ...request, image }, { context, profile: bundledProfile('readonly')! });
      expect(tagged.provenance.handle?.metadata).toEqual({ resolvedDigest: digest });
    });

    test('a program that the image has not got failed', async () => {
      const { status, evidence } = await execute(
        backend,
        { command: 'nothing-of-this-name', cwd: temporaryFolder(), image },
        { context },
      );
      expect([status, evidence[1]]).toEqual(['failed', 'exitCode:127']);
    });
  });
