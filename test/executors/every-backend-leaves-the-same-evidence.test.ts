import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import { ciBackend } from '../../executors/ci/ci-backend';
import { containerBackend } from '../../executors/container/container-backend';
import { nodeBackend } from '../../executors/node/node-backend';
import { remoteBackend } from '../../executors/remote/remote-backend';
import { standInRunner, type StandInRunner } from '../support/stand-in/runner';
import { temporaryFolder } from '../support/temporary-folder';
import { CONFORMANCE_CASES } from './conformance-cases';
import { canonical, execute, standInDocker } from './harness';

let runner: StandInRunner;
beforeAll(async () => void (runner = await standInRunner()));
afterAll(() => runner.close());

test.each(CONFORMANCE_CASES)('a command that $name', async ({ request, status, exitCode, digest }) => {
  const cwd = temporaryFolder();
  const docker = standInDocker(temporaryFolder());
  const local = ['127.0.0.1'];
  const context = { hostEnv: docker.env };
  const envelopes = await Promise.all([
    execute(nodeBackend, { ...request, cwd }),
    execute(containerBackend(), { ...request, cwd, image: 'registry.example:5000/team/tool:1' }, { context }),
    execute(remoteBackend({ privateHosts: local }), { ...request, cwd, endpoint: runner.url }),
    execute(ciBackend({ privateHosts: local }), { ...request, cwd, endpoint: runner.url, jobId: 'job-7' }),
  ]);
  const [node] = envelopes;
  expect(node.status).toBe(status);
  expect(node.evidence).toEqual(node.result.evidence);
  if (exitCode !== undefined) expect(node.evidence[1]).toBe(`exitCode:${exitCode}`);
  if (digest) expect(node.evidence[2]).toBe(`stdoutSha256:${digest}`);
  for (const envelope of envelopes) expect(canonical(envelope)).toBe(canonical(node));
  expect(envelopes.map(({ provenance }) => provenance.handle?.ref)).toEqual([
    undefined,
    'registry.example:5000/team/tool:1',
    runner.url,
    `${runner.url}#job-7`,
  ]);
  for (const { provenance } of envelopes) expect(provenance.handle).toEqual(provenance.attestation.handle);
});

test('a command that is refused leaves the same lines but for the backend, and no digest', async () => {
  const cwd = temporaryFolder();
  const profile = bundledProfile('locked-down')!;
  const all = [nodeBackend, containerBackend(), remoteBackend(), ciBackend()];
  for (const backend of all) {
    const { status, evidence, provenance } = await execute(backend, { command: 'true', cwd }, { profile });
    expect(status).toBe('refused');
    expect(evidence).toEqual(['refused:sandbox-command-denied', `backend:${backend.spec.id}`, 'sandbox:locked-down']);
    expect(provenance.outcomeUnknown).toBeUndefined();
  }
});
