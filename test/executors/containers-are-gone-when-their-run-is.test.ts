import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { sandboxProfile } from '../../contracts/sandbox-profile';
import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import { containerBackend } from '../../executors/container/container-backend';
import { eventually } from '../support/eventually';
import { temporaryFolder } from '../support/temporary-folder';
import { execute, standInDocker } from './harness';

const IMAGE = 'alpine:3';
const containers = (state: string): string[] => readdirSync(state).filter((name) => name.startsWith('container-'));

test('the arguments are the recorded ones, with names of variables and never values', async () => {
  const docker = standInDocker(temporaryFolder());
  const cwd = temporaryFolder();
  const profile = sandboxProfile.parse({
    schemaVersion: 1,
    id: 'exposing',
    title: 'exposes',
    execute: { mode: 'any' },
    network: { mode: 'allowlist', allow: ['example.org'] },
    env: { expose: ['SECRET_B', 'MISSING', 'SECRET_A', 'PATH', 'DENIED'], deny: ['DENIED'] },
  });
  const hostEnv = { ...docker.env, SECRET_A: 'value-a', SECRET_B: 'value-b', DENIED: 'value-d', OTHER: 'value-o' };
  const digest = `sha256:${'a'.repeat(64)}`;
  const { status, provenance } = await execute(
    containerBackend(),
    {
      command: 'sh',
      args: ['-c', '[ "$SECRET_A$SECRET_B$DENIED$OTHER" = value-avalue-b ]'],
      cwd,
      image: IMAGE,
      digest,
    },
    { profile, context: { hostEnv, runKey: 'key-1' } },
  );
  expect(status).toBe('completed');
  expect(provenance.handle).toEqual({ kind: 'container', ref: `${IMAGE}@${digest}`, image: IMAGE, digest });
  const { argv, env } = docker.calls().find((call) => call.argv[0] === 'run')!;
  expect(argv).toEqual([
    ...[
      'run',
      '--rm',
      '--name',
      'wl-key-1',
      '--label',
      'opencrow-workloadd.run=key-1',
      '--cidfile',
      expect.any(String),
    ],
    ...['--network', 'none', '-v', `${cwd}:${cwd}:ro`, '-w', cwd, '-e', 'SECRET_B', '-e', 'SECRET_A'],
    ...[`${IMAGE}@${digest}`, 'sh', '-c', '[ "$SECRET_A$SECRET_B$DENIED$OTHER" = value-avalue-b ]'],
  ]);
  expect(JSON.stringify(argv.slice(0, -3))).not.toContain('value-');
  expect(env).toMatchObject({ SECRET_A: 'value-a' });
  expect(env).not.toHaveProperty('OTHER');
});

test.each(['timeout', 'cancel'] as const)(
  'after a %s the container is gone and the outcome is unknown',
  async (how) => {
    const docker = standInDocker(temporaryFolder());
    const cwd = temporaryFolder();
    const stop = new AbortController();
    const running = execute(
      containerBackend(),
      { command: 'sh', args: ['-c', 'sleep 60'], cwd, image: IMAGE, ...(how === 'timeout' ? { timeoutMs: 1500 } : {}) },
      { context: { hostEnv: docker.env, signal: stop.signal } },
    );
    await eventually(() => expect(containers(docker.state)).toHaveLength(1));
    if (how === 'cancel') stop.abort();
    const { evidence, provenance } = await running;
    expect(evidence[0]).toBe('refused:delegation-failed');
    expect(provenance.outcomeUnknown).toBe(true);
    expect(containers(docker.state)).toEqual([]);
  },
);

test('what an earlier attempt left running is ended and not run again', async () => {
  const docker = standInDocker(temporaryFolder());
  const cwd = temporaryFolder();
  const marker = path.join(temporaryFolder(), 'ran');
  writeFileSync(path.join(docker.state, 'container-wl-key-2'), '2147483646');
  const { evidence, provenance } = await execute(
    containerBackend(),
    { command: 'touch', args: [marker], cwd, image: IMAGE },
    { context: { hostEnv: docker.env, runKey: 'key-2' } },
  );
  expect(evidence[0]).toBe('refused:delegation-failed');
  expect(provenance.outcomeUnknown).toBe(true);
  expect(existsSync(marker)).toBe(false);
  expect(containers(docker.state)).toEqual([]);
});

test.each([
  ['a daemon that is away', 'dead', 'refused:runtime-unavailable'],
  ['an image that cannot be had', 'fail-pull', 'refused:runtime-unavailable'],
  ['a runtime that fails', 'fail-run', 'refused:runtime-unavailable'],
])('%s is refused, known not to have run', async (_, mode, refusal) => {
  const docker = standInDocker(temporaryFolder());
  writeFileSync(path.join(docker.state, mode), '');
  const context = { hostEnv: docker.env };
  const run = await execute(containerBackend(), { command: 'true', cwd: temporaryFolder(), image: IMAGE }, { context });
  expect(run.evidence[0]).toBe(refusal);
  expect(run.provenance.outcomeUnknown).toBeUndefined();
});

test('a command that exits as a runtime that failed is not known to have run, and is not told as its result', async () => {
  const docker = standInDocker(temporaryFolder());
  const { evidence, provenance } = await execute(
    containerBackend(),
    { command: 'sh', args: ['-c', 'exit 125'], cwd: temporaryFolder(), image: IMAGE },
    { context: { hostEnv: docker.env } },
  );
  expect(evidence[0]).toBe('refused:runtime-unavailable');
  expect(provenance.outcomeUnknown).toBe(true);
});

test('an image that is not there is got before the time of the command begins', async () => {
  const docker = standInDocker(temporaryFolder());
  const request = { command: 'true', cwd: temporaryFolder(), image: IMAGE };
  const verbs = async (): Promise<string[]> => {
    expect((await execute(containerBackend(), request, { context: { hostEnv: docker.env } })).status).toBe('completed');
    return docker.calls().map(({ argv }) => argv.slice(0, 2).join(' '));
  };
  const before = ['version --format', 'container inspect', 'image inspect'];
  expect((await verbs()).slice(0, 5)).toEqual([...before, `pull ${IMAGE}`, 'run --rm']);
  rmSync(path.join(docker.state, 'calls.ndjson'));
  writeFileSync(path.join(docker.state, 'digest'), `alpine@sha256:${'c'.repeat(64)}\n`);
  expect((await verbs()).slice(0, 4)).toEqual([...before, 'run --rm']);
});

test('a folder whose links lead to where no mount can be is refused', async () => {
  const workspace = temporaryFolder();
  mkdirSync(path.join(workspace, 'a:b'));
  symlinkSync(path.join(workspace, 'a:b'), path.join(workspace, 'link'));
  const { evidence } = await execute(containerBackend(), {
    command: 'true',
    cwd: path.join(workspace, 'link'),
    workspace,
    image: IMAGE,
  });
  expect(evidence[0]).toBe('refused:cwd-outside-workspace');
});

test('the next runtime is used only when it is configured', async () => {
  const docker = standInDocker(temporaryFolder());
  writeFileSync(path.join(docker.state, 'dead'), '');
  const request = { command: 'true', cwd: temporaryFolder(), image: IMAGE };
  const context = { hostEnv: { ...docker.env, PATH: docker.bin } };
  const alone = await execute(containerBackend(), request, { context });
  expect(alone.result.summary).not.toContain('podman');
  const both = await execute(containerBackend({ runtimes: ['docker', 'podman'] }), request, { context });
  expect(both.result.summary).toContain('no podman on PATH');
});

test('the digest that a tag stood for is recorded', async () => {
  const docker = standInDocker(temporaryFolder());
  const digest = `sha256:${'b'.repeat(64)}`;
  writeFileSync(path.join(docker.state, 'digest'), `alpine@${digest}\n`);
  const context = { hostEnv: docker.env };
  const { provenance } = await execute(
    containerBackend(),
    { command: 'true', cwd: temporaryFolder(), image: IMAGE },
    { context },
  );
  expect(provenance.handle).toMatchObject({ ref: IMAGE, metadata: { resolvedDigest: digest } });
});

test.each([['--privileged'], ['-v/:/host'], ['a b'], ['UPPER//x'], ['x@sha256:00'], ['']])(
  'image %j',
  async (image) => {
    const { evidence } = await execute(
      containerBackend(),
      { command: 'true', cwd: temporaryFolder(), image },
      { profile: bundledProfile('default')! },
    );
    expect(evidence[0]).toBe(image === '' ? 'refused:delegation-target-missing' : 'refused:invalid-image');
  },
);
