import { existsSync, mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { sandboxProfile } from '../../contracts/sandbox-profile';
import type { ExecutionRequest } from '../../contracts/execution';
import { textDigest } from '../../domain/execution/evidence';
import { parseProfile } from '../../domain/execution/sandbox-profiles';
import type { Backend } from '../../executors/backend';
import { nodeBackend } from '../../executors/node/node-backend';
import { remoteBackend } from '../../executors/remote/remote-backend';
import { temporaryFolder } from '../support/temporary-folder';
import { execute } from './harness';

const profileWith = (fields: object) =>
  sandboxProfile.parse({ schemaVersion: 1, id: 'p', title: 'p', execute: { mode: 'any' }, ...fields });
const notReady: Backend = {
  ...nodeBackend,
  probe: () => Promise.resolve({ ready: false, checks: [{ name: 'x', ok: false, detail: 'no runtime' }] }),
};
const powerless: Backend = {
  ...nodeBackend,
  spec: { ...nodeBackend.spec, support: { ...nodeBackend.spec.support, network: 'unsupported' } },
};

test.each<[string, Partial<ExecutionRequest>, object, string, Backend]>([
  ['NUL in an argument', { args: ['a\0b'] }, {}, 'invalid-argument', nodeBackend],
  ['a MiB of arguments', { args: ['x'.repeat(1024 * 1024)] }, {}, 'invalid-argument', nodeBackend],
  ['a negative timeout', { timeoutMs: -1 }, {}, 'invalid-timeout', nodeBackend],
  ['a timeout that is no number', { timeoutMs: NaN }, {}, 'invalid-timeout', nodeBackend],
  ['a relative folder', { cwd: 'here' }, {}, 'cwd-outside-workspace', nodeBackend],
  ['a folder that is not there', { cwd: '/nowhere/at/all' }, {}, 'cwd-outside-workspace', nodeBackend],
  ['a command no profile lets run', {}, { execute: { mode: 'none' } }, 'sandbox-command-denied', nodeBackend],
  [
    'a command not on the list',
    {},
    { execute: { mode: 'allowlist', allow: ['touch'] } },
    'sandbox-command-denied',
    nodeBackend,
  ],
  [
    'a command that is denied',
    {},
    { execute: { mode: 'any', deny: ['touch'] } },
    'sandbox-command-denied',
    nodeBackend,
  ],
  ['a dimension nobody holds', {}, { network: { mode: 'none' } }, 'sandbox-unenforceable', powerless],
  ['a runtime that is not there', {}, {}, 'backend-not-ready', notReady],
  ['no command', { command: '' }, {}, 'no-command', nodeBackend],
  ['no command and no target', { command: '' }, {}, 'delegation-target-missing', remoteBackend()],
  ['a variable that is not exposed', { env: ['HOME'] }, {}, 'sandbox-env-denied', nodeBackend],
])('%s', async (_, request, profile, code, backend) => {
  const cwd = temporaryFolder();
  const marker = path.join(cwd, 'ran');
  const full = { command: 'touch', args: [marker], cwd, ...request };
  const { status, evidence } = await execute(backend, full, { profile: profileWith(profile) });
  expect({ status, refusal: evidence[0] }).toEqual({ status: 'refused', refusal: `refused:${code}` });
  expect(existsSync(marker)).toBe(false);
});

test('the command policy is asked before the target', async () => {
  const profile = profileWith({ execute: { mode: 'none' } });
  const { evidence } = await execute(remoteBackend(), { command: 'true', cwd: temporaryFolder() }, { profile });
  expect(evidence[0]).toBe('refused:sandbox-command-denied');
});

test('the list names whole lines', async () => {
  const cwd = temporaryFolder();
  const profile = profileWith({ execute: { mode: 'allowlist', allow: ['printf a b'] } });
  expect((await execute(nodeBackend, { command: 'printf', args: ['a', 'b'], cwd }, { profile })).status).toBe(
    'completed',
  );
  expect((await execute(nodeBackend, { command: 'printf', args: ['a'], cwd }, { profile })).status).toBe('refused');
});

test('a folder is where its links lead', async () => {
  const workspace = temporaryFolder();
  const outside = temporaryFolder();
  symlinkSync(outside, path.join(workspace, 'link'));
  mkdirSync(path.join(workspace, 'inside'));
  const at = (cwd: string) => execute(nodeBackend, { command: 'true', cwd, workspace });
  expect((await at(path.join(workspace, 'inside'))).status).toBe('completed');
  expect((await at(path.join(workspace, 'link'))).evidence[0]).toBe('refused:cwd-outside-workspace');
  expect((await at(path.join(workspace, 'inside', '..', '..'))).evidence[0]).toBe('refused:cwd-outside-workspace');
});

test.each([
  ['{', 'is not JSON'],
  ['{"schemaVersion":2,"id":"x","title":"x"}', 'schemaVersion must be 1'],
  ['{"schemaVersion":1,"id":"default","title":"x"}', "is a bundled profile's"],
  ['{"schemaVersion":1,"id":"x","title":"x","readPaths":["../up"]}', 'readPaths.0 must not climb'],
  ['{"schemaVersion":1,"id":"x","title":"x","readPaths":["$home"]}', 'readPaths.0 may begin with $ only as $cwd'],
  ['{"schemaVersion":1,"id":"x","title":"x","env":{"expose":["A-B"]}}', 'env.expose.0 must be the name'],
  ['{"schemaVersion":1,"id":"x","title":"x","more":1}', 'Unrecognized key'],
])('profile %s', (text, why) => {
  expect(() => parseProfile(text, 'file')).toThrow(why);
});

test('a profile that says nothing lets nothing run', () => {
  const { execute: allowed, network } = parseProfile('{"schemaVersion":1,"id":"x","title":"x"}', 'file');
  expect([allowed.mode, network.mode]).toEqual(['none', 'none']);
});

test('the variables of the run itself reach the command, unless the profile denies them', async () => {
  const cwd = temporaryFolder();
  const variables = { WORKLOAD_ID: 'wl_1', WORKLOAD_CAPABILITY_TOKEN: 'token' };
  const run = (profile: object) =>
    execute(
      nodeBackend,
      { command: 'sh', args: ['-c', 'printf "$WORKLOAD_ID-$WORKLOAD_CAPABILITY_TOKEN-$OTHER"'], cwd },
      {
        profile: profileWith(profile),
        context: { variables, hostEnv: { ...process.env, OTHER: 'x', WORKLOAD_ID: 'y' } },
      },
    );
  expect((await run({})).evidence[2]).toBe(`stdoutSha256:${textDigest('wl_1-token-')}`);
  const denied = await run({ env: { deny: ['WORKLOAD_CAPABILITY_TOKEN'] } });
  expect(denied.evidence[2]).toBe(`stdoutSha256:${textDigest('wl_1--')}`);
  expect(JSON.stringify(denied)).not.toContain('token');
});
