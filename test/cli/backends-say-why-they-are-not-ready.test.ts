import { mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import type { BackendProbe } from '../../executors/backend';
import { standInDocker } from '../executors/harness';
import { commandLine } from '../support/command-line';
import { temporaryFolder } from '../support/temporary-folder';

interface Probe extends BackendProbe {
  backend: string;
}

/** A PATH on which there is node and nothing else. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const bin = path.join(temporaryFolder(), 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, path.join(bin, 'node'));
  return { PATH: bin };
}

async function probe(env: NodeJS.ProcessEnv, ...args: string[]): Promise<Map<string, Probe>> {
  const { stdout } = await commandLine(['backend', 'probe', '--json', ...args], env);
  const { probes } = JSON.parse(stdout) as { probes: Probe[] };
  return new Map(probes.map((each) => [each.backend, each]));
}

const failed = ({ checks }: Probe): string[] => checks.filter(({ ok }) => !ok).map(({ detail }) => detail);

test('each of the four says whether it is ready, and why not', async () => {
  const probes = await probe(bareEnvironment());
  expect([...probes.values()].map(({ backend, ready }) => [backend, ready])).toEqual([
    ['ci', true],
    ['container', false],
    ['node', true],
    ['remote', true],
  ]);
  expect(failed(probes.get('container')!)).toEqual(['no docker on PATH']);
});

test('a runtime that answers makes containers ready', async () => {
  const docker = standInDocker(temporaryFolder());
  expect((await probe(docker.env, 'container')).get('container')).toMatchObject({ ready: true });
});

test.each([
  ['container', ['--image', '--privileged'], 'invalid-image'],
  ['remote', ['--endpoint', 'http://u:p@runner.example.com/jobs'], 'invalid-endpoint'],
  ['ci', ['--endpoint', 'http://127.0.0.1:9/jobs'], 'endpoint-not-allowed'],
  ['node', ['--sandbox', 'locked-down'], 'lets no command run'],
])('%s with %j is not ready, and the command fails', async (backend, options, why) => {
  const docker = standInDocker(temporaryFolder());
  const probes = await probe(docker.env, backend, ...options);
  expect(failed(probes.get(backend)!).join()).toContain(why);
  const { code, stderr } = await commandLine(['backend', 'probe', backend, ...options], docker.env);
  expect([code, stderr]).toEqual([1, `error: backend ${backend} is not ready\n`]);
});

test('a private runner that is allowed may be used, and no secret is shown', async () => {
  const env = { WORKLOADD_RUNNER_TOKEN: 'secret-of-the-runner', WORKLOADD_RUNNER_PRIVATE_HOSTS: '127.0.0.1' };
  const { code, stdout } = await commandLine(
    ['backend', 'probe', 'remote', '--endpoint', 'http://127.0.0.1:9/jobs'],
    env,
  );
  expect(code).toBe(0);
  expect(stdout).toContain('a bearer token is sent');
  expect(stdout).not.toContain('secret-of-the-runner');
});

test('list asks nobody and says nothing of readiness', async () => {
  const { code, stdout } = await commandLine(['backend', 'list'], bareEnvironment());
  expect(code).toBe(0);
  expect(stdout).not.toMatch(/ready/i);
  expect((await commandLine(['backend', 'probe', 'nope'])).code).toBe(2);
});

test('doctor says of each backend that the worker is to offer whether it is ready', async () => {
  const nowhere = ['--data-dir', temporaryFolder(), '--api-url', 'http://127.0.0.1:9'];
  const doctor = async (...more: string[]): Promise<string> =>
    (await commandLine(['doctor', ...nowhere, ...more], { ...bareEnvironment(), TEMPORAL_ADDRESS: '127.0.0.1:9' }))
      .stdout;
  const [offered, none] = await Promise.all([doctor('--backends', 'node,container'), doctor()]);
  expect(offered).toMatch(/^ok {4}backend node: /m);
  expect(offered).toMatch(/^FAIL {2}backend container: .*no docker on PATH$/m);
  expect(offered).not.toContain('backend remote');
  expect(none).toMatch(/^skip {2}backends: /m);
});
