import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import type { ExecutionRequest } from '../../contracts/execution';
import { ciBackend } from '../../executors/ci/ci-backend';
import { containerBackend } from '../../executors/container/container-backend';
import { nodeBackend } from '../../executors/node/node-backend';
import { remoteBackend } from '../../executors/remote/remote-backend';
import { standInRunner, type StandInRunner } from '../support/stand-in/runner';
import { temporaryFolder } from '../support/temporary-folder';
import { canonical, execute, standInDocker } from './harness';

const SHA_EMPTY = 'sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const SHA_HELLO = 'sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03';
const SHA_MIB_OF_NUL = 'sha256:30e14955ebf1352266dc2ff8067e68104607e750abb9d3b36582b8af909fcb58';

const CASES: { name: string; request: Partial<ExecutionRequest>; status: string; digest?: string }[] = [
  { name: 'prints a line', request: { command: 'printf', args: ['hello\n'] }, status: 'completed', digest: SHA_HELLO },
  { name: 'prints nothing', request: { command: 'true' }, status: 'completed', digest: SHA_EMPTY },
  { name: 'fails', request: { command: 'sh', args: ['-c', 'printf partly; exit 7'] }, status: 'failed' },
  {
    name: 'prints to stderr only',
    request: { command: 'sh', args: ['-c', 'echo oops >&2'] },
    status: 'completed',
    digest: SHA_EMPTY,
  },
  {
    name: 'prints bytes that are no text',
    request: { command: 'printf', args: ['\\377\\376\\200a'] },
    status: 'completed',
  },
  { name: 'ends in the middle of a character', request: { command: 'printf', args: ['ok\\303'] }, status: 'completed' },
  {
    name: 'begins with a byte order mark',
    request: { command: 'printf', args: ['\\357\\273\\277x\\r\\n'] },
    status: 'completed',
  },
  {
    name: 'prints a MiB of NUL',
    request: { command: 'head', args: ['-c', '1048576', '/dev/zero'] },
    status: 'completed',
    digest: SHA_MIB_OF_NUL,
  },
  {
    name: 'has odd arguments',
    request: { command: 'printf', args: ['%s|', 'a b', '', '"q"', "'", '*', '$HOME', 'ä\n'] },
    status: 'completed',
  },
  { name: 'has a label', request: { command: 'true', label: 'nightly check' }, status: 'completed' },
];

let runner: StandInRunner;
beforeAll(async () => void (runner = await standInRunner()));
afterAll(() => runner.close());

test.each(CASES)('a command that $name', async ({ request, status, digest }) => {
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
