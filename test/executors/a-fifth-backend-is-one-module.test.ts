import { textDigest } from '../../domain/execution/evidence';
import type { Backend } from '../../executors/backend';
import { Backends, builtInBackends } from '../../executors/backends';
import { temporaryFolder } from '../support/temporary-folder';
import { canonical, execute } from './harness';

/** Runs nothing but `echo`, in this process. */
const echoBackend: Backend = {
  spec: {
    id: 'echo',
    title: 'Echo, without a process',
    kind: 'local',
    locality: 'local',
    support: { read: 'enforce', write: 'enforce', command: 'enforce', network: 'enforce', env: 'enforce' },
    defaultTimeoutMs: 1_000,
  },
  probe: () => Promise.resolve({ ready: true, checks: [] }),
  run: ({ command, args }) =>
    Promise.resolve(
      command === 'echo'
        ? { type: 'exited', exitCode: 0, stdoutDigest: textDigest(`${args.join(' ')}\n`) }
        : { type: 'refused', code: 'runtime-unavailable', reason: 'only echo' },
    ),
};

const backends = new Backends([
  ...builtInBackends({ containerRuntimes: ['docker'], runnerToken: undefined, runnerPrivateHosts: [] }),
  echoBackend,
]);

test('it leaves the evidence that the others leave', async () => {
  const request = { command: 'echo', args: ['a', 'b'], cwd: temporaryFolder() };
  const [echo, node] = await Promise.all([
    execute(backends.get('echo')!, request),
    execute(backends.get('node')!, request),
  ]);
  expect(canonical(echo)).toBe(canonical(node));
  expect(echo.provenance.backendId).toBe('echo');
});

test('it refuses as the others do', async () => {
  const { evidence } = await execute(backends.get('echo')!, { command: 'rm', cwd: temporaryFolder() });
  expect(evidence).toEqual(['refused:runtime-unavailable', 'backend:echo', 'sandbox:default']);
});

test('one that was not added is not there, and nothing stands in for it', () => {
  expect(backends.get('bun')).toBeNull();
  expect(backends.list().map(({ spec }) => spec.id)).toEqual(['ci', 'container', 'echo', 'node', 'remote']);
});
