import type { ServerResponse } from 'node:http';
import { sandboxProfile } from '../../contracts/sandbox-profile';
import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import { ciBackend } from '../../executors/ci/ci-backend';
import { remoteBackend } from '../../executors/remote/remote-backend';
import type { ExecutionHandle } from '../../contracts/execution';
import { answerJson, runJob, standInRunner, type SeenRequest, type StandInRunner } from '../support/stand-in/runner';
import { temporaryFolder } from '../support/temporary-folder';
import { execute } from './harness';

const open: StandInRunner[] = [];
afterEach(async () => {
  for (const runner of open.splice(0)) await runner.close();
});

async function runner(answer?: Parameters<typeof standInRunner>[0]): Promise<StandInRunner> {
  const started = await standInRunner(answer);
  open.push(started);
  return started;
}

const backend = remoteBackend({
  privateHosts: ['127.0.0.1'],
  token: () => 'runner-token',
  pollMs: { first: 10, longest: 20 },
});
const run = (endpoint: string, more: Parameters<typeof execute>[2] & { timeoutMs?: number } = {}) =>
  execute(
    backend,
    { command: 'printf', args: ['hi'], cwd: temporaryFolder(), endpoint, timeoutMs: more.timeoutMs },
    more,
  );
const posts = ({ seen }: StandInRunner): SeenRequest[] => seen.filter(({ method }) => method === 'POST');

test('a job is submitted once, its id is told before the first poll, and polls outlive what a runner gets over', async () => {
  const order: string[] = [];
  const answers = [
    { status: 503, body: {} },
    { status: 429, body: {} },
    { status: 200, body: { jobId: 'j 1', done: false, exitCode: 0 } },
  ];
  const started = await runner(async ({ method, url, body }, response) => {
    order.push(method === 'POST' ? 'submit' : 'poll');
    if (method === 'POST') return answerJson(response, { jobId: 'j 1' });
    expect(url).toBe('/jobs?jobId=j%201');
    const next = answers.shift();
    if (next) return answerJson(response, next.body, next.status);
    void body;
    answerJson(response, { jobId: 'j 1', done: true, ...(await runJob({ command: 'printf', args: ['hi'] })) });
  });
  const told: ExecutionHandle[] = [];
  const { status, provenance } = await run(started.url, {
    context: {
      runKey: 'once-1',
      targetKnown: (handle) => {
        order.push('told');
        told.push(handle);
        return Promise.resolve();
      },
    },
  });
  expect(status).toBe('completed');
  expect(order).toEqual(['submit', 'told', 'poll', 'poll', 'poll', 'poll']);
  expect(told[0]!.metadata).toEqual({ runnerJobId: 'j 1', submittedAt: expect.any(String) });
  expect(provenance.handle).toEqual(told[0]);
  const [{ headers, body }] = posts(started) as [SeenRequest];
  expect(headers).toMatchObject({ authorization: 'Bearer runner-token', 'idempotency-key': 'once-1' });
  expect(Object.keys(body)).toEqual(['command', 'args', 'env', 'sandboxProfileId']);
  expect(body.env).toEqual({});
  expect(JSON.stringify(provenance)).not.toContain('runner-token');
});

test.each<[string, (response: ServerResponse) => void, boolean]>([
  ['closes the connection', (response) => void response.destroy(), true],
  ['answers 500', (response) => answerJson(response, {}, 500), true],
  ['answers 404', (response) => answerJson(response, {}, 404), false],
  ['redirects', (response) => void response.writeHead(307, { location: '/elsewhere' }).end(), false],
  ['answers no JSON', (response) => void response.end('<html>'), true],
  ['answers null', (response) => answerJson(response, null), true],
  ['gives no exit code', (response) => answerJson(response, { stdout: 'x' }), true],
  ['gives half an exit code', (response) => answerJson(response, { exitCode: 0.5 }), true],
])('a runner that %s on submit is refused and never asked again', async (_, answer, outcomeUnknown) => {
  const started = await runner((_request, response) => answer(response));
  const { status, evidence, provenance } = await run(started.url);
  expect(status).toBe('refused');
  expect(evidence[0]).toBe('refused:delegation-failed');
  expect(provenance.outcomeUnknown ?? false).toBe(outcomeUnknown);
  expect(started.seen).toHaveLength(1);
});

test('nobody listening is known not to have run', async () => {
  const started = await runner();
  await started.close();
  const { evidence, provenance } = await run(started.url);
  expect(evidence[0]).toBe('refused:delegation-failed');
  expect(provenance.outcomeUnknown).toBeUndefined();
});

test.each([
  ['another job', { jobId: 'other', done: true, exitCode: 0 }],
  ['no job', { exitCode: 0 }],
  ['a job that is gone', null],
])('an answer to a poll for %s is no result', async (_, polled) => {
  const started = await runner(({ method }, response) =>
    method === 'POST'
      ? answerJson(response, { jobId: 'mine' })
      : answerJson(response, polled, polled === null ? 404 : 200),
  );
  const { evidence, provenance } = await run(started.url);
  expect(evidence[0]).toBe('refused:delegation-failed');
  expect(provenance.outcomeUnknown).toBe(true);
});

test('a job past its deadline is cancelled where the runner offers it, and its outcome is unknown', async () => {
  const started = await runner(({ method }, response) =>
    answerJson(response, method === 'DELETE' ? {} : { jobId: 'mine', cancellable: true }),
  );
  const { evidence, provenance } = await run(started.url, { timeoutMs: 200 });
  expect(evidence[0]).toBe('refused:delegation-failed');
  expect(provenance.outcomeUnknown).toBe(true);
  expect(started.seen.at(-1)).toMatchObject({ method: 'DELETE', url: '/jobs?jobId=mine' });
  expect(posts(started)).toHaveLength(1);
});

test.each([
  ['http://user:secret@runner.example/', 'refused:invalid-endpoint'],
  ['ftp://runner.example/', 'refused:invalid-endpoint'],
  ['not a url', 'refused:invalid-endpoint'],
  ['http://10.0.0.1/', 'refused:endpoint-not-allowed'],
  ['http://[::1]:1/', 'refused:endpoint-not-allowed'],
  ['http://[::ffff:127.0.0.1]/', 'refused:endpoint-not-allowed'],
  ['http://2130706433/', 'refused:endpoint-not-allowed'],
  ['http://169.254.169.254/latest', 'refused:endpoint-not-allowed'],
  ['http://localhost:1/', 'refused:endpoint-not-allowed'],
])('endpoint %s', async (endpoint, refusal) => {
  const strict = remoteBackend();
  const { evidence, result } = await execute(strict, { command: 'true', cwd: temporaryFolder(), endpoint });
  expect(evidence[0]).toBe(refusal);
  expect(result.summary).not.toContain('secret');
});

test('a job id without an endpoint is no target to ask', async () => {
  const { evidence, provenance } = await execute(ciBackend(), { command: 'true', cwd: temporaryFolder(), jobId: 'j' });
  expect(evidence[0]).toBe('refused:delegation-target-missing');
  expect(provenance.handle).toEqual({ kind: 'ci', ref: 'j', jobId: 'j' });
});

test('a name that leads inside is not asked', async () => {
  const started = await runner();
  const { protocol, port, pathname } = new URL(started.url);
  const endpoint = `${protocol}//localhost:${port}${pathname}`;
  const end = await remoteBackend().run(
    {
      command: 'true',
      args: [],
      cwd: '/',
      timeoutMs: 5_000,
      profile: bundledProfile('default')!,
      forwarded: [],
      handle: { kind: 'remote', ref: endpoint, endpoint },
    },
    { signal: new AbortController().signal, hostEnv: {}, runKey: 'k', output: () => undefined },
  );
  expect(end).toMatchObject({ type: 'refused', code: 'endpoint-not-allowed', outcomeUnknown: false });
  expect(started.seen).toEqual([]);
});

test('a runner gets what the profile exposes, and neither PATH nor HOME', async () => {
  const started = await runner();
  const profile = sandboxProfile.parse({
    schemaVersion: 1,
    id: 'p',
    title: 'p',
    execute: { mode: 'any' },
    env: { expose: ['PATH', 'HOME', 'SHOWN', 'DENIED', 'MISSING'], deny: ['DENIED'] },
  });
  const hostEnv = { PATH: '/bin', HOME: '/home/x', SHOWN: 'shown', DENIED: 'denied', OTHER: 'other' };
  await run(started.url, { profile, context: { hostEnv, variables: { WORKLOAD_ID: 'wl_1' } } });
  expect(posts(started)[0]!.body.env).toEqual({ SHOWN: 'shown', WORKLOAD_ID: 'wl_1' });
});
