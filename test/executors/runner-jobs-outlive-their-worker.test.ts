import type { ExecutionHandle } from '../../contracts/execution';
import { Secret } from '../../contracts/secret';
import { bundledProfile } from '../../domain/execution/sandbox-profiles';
import { remoteBackend } from '../../executors/remote/remote-backend';
import { runOrLeave } from '../../executors/run-command';
import { eventually } from '../support/eventually';
import { answerJson, standInRunner, type StandInRunner } from '../support/stand-in/runner';
import { temporaryFolder } from '../support/temporary-folder';
import { execute } from './harness';

const open: StandInRunner[] = [];
afterEach(async () => {
  for (const runner of open.splice(0)) await runner.close();
});

/** A runner with one job, `j1`, that ends when the test says so. */
async function jobRunner(): Promise<StandInRunner & { finish: () => void; count: (method: string) => number }> {
  let done = false;
  const runner = await standInRunner(({ method }, response) =>
    answerJson(
      response,
      method === 'GET' && done
        ? { jobId: 'j1', done: true, exitCode: 0, stdout: 'hi' }
        : { jobId: 'j1', cancellable: true },
    ),
  );
  open.push(runner);
  return {
    ...runner,
    finish: () => void (done = true),
    count: (method) => runner.seen.filter((request) => request.method === method).length,
  };
}

const backend = (safetyPollMs = 60_000) =>
  remoteBackend({ privateHosts: ['127.0.0.1'], pollMs: { first: 10, longest: 20 }, safetyPollMs });
const request = (endpoint: string, timeoutMs = 20_000) => ({
  command: 'printf',
  args: ['hi'],
  cwd: temporaryFolder(),
  endpoint,
  timeoutMs,
});

test('another worker waits for the job that a dead one submitted, and nothing is submitted again', async () => {
  const runner = await jobRunner();
  let told: ExecutionHandle | undefined;
  // Never settled: the first worker died here.
  void execute(backend(), request(runner.url), {
    context: { runKey: 'k-1', targetKnown: (handle) => ((told = handle), new Promise(() => undefined)) },
  });
  const resumeFrom = await eventually(() => {
    expect(told).toBeDefined();
    return JSON.parse(JSON.stringify(told)) as ExecutionHandle;
  });
  const resumed = execute(backend(), request(runner.url), { context: { runKey: 'k-1', resumeFrom } });
  await eventually(() => expect(runner.count('GET')).toBeGreaterThan(0));
  runner.finish();
  const { status, evidence, provenance } = await resumed;
  expect(status).toBe('completed');
  expect(provenance.handle).toEqual(told);
  const whole = await execute(backend(), request(runner.url));
  expect(evidence).toEqual(whole.evidence);
  expect(runner.count('POST')).toBe(2);
});

test('a resumed job has the deadline it had, is asked once after it, and is cancelled', async () => {
  const runner = await jobRunner();
  const resumeFrom: ExecutionHandle = {
    kind: 'remote',
    ref: runner.url,
    endpoint: runner.url,
    metadata: { runnerJobId: 'j1', cancellable: true, submittedAt: new Date(Date.now() - 60_000).toISOString() },
  };
  const late = await execute(backend(), request(runner.url, 30_000), { context: { resumeFrom } });
  expect([late.evidence[0], late.provenance.outcomeUnknown]).toEqual(['refused:delegation-failed', true]);
  expect(runner.seen.map(({ method }) => method)).toEqual(['GET', 'DELETE']);
  runner.finish();
  expect((await execute(backend(), request(runner.url, 30_000), { context: { resumeFrom } })).status).toBe('completed');
});

test('a job of another endpoint is not taken over', async () => {
  const runner = await jobRunner();
  const resumeFrom: ExecutionHandle = { kind: 'remote', ref: 'x', endpoint: 'x', metadata: { runnerJobId: 'j1' } };
  const { provenance } = await execute(backend(), request(runner.url), { context: { resumeFrom } });
  expect(provenance.outcomeUnknown).toBe(true);
  expect(runner.seen).toEqual([]);
});

test('a job that its worker may not wait for is cancelled', async () => {
  const runner = await jobRunner();
  const { evidence, provenance } = await execute(backend(), request(runner.url), {
    context: { targetKnown: () => Promise.reject(new Error('stale')) },
  });
  expect([evidence[0], provenance.outcomeUnknown]).toEqual(['refused:delegation-failed', true]);
  expect(runner.seen.map(({ method }) => method)).toEqual(['POST', 'DELETE']);
});

test('a cancel that comes while the job is submitted still cancels the job', async () => {
  const stop = new AbortController();
  const runner = await standInRunner(({ method }, response) => {
    if (method === 'POST') stop.abort();
    answerJson(response, method === 'POST' ? { jobId: 'j1', cancellable: true } : {});
  });
  open.push(runner);
  const { provenance } = await execute(backend(), request(runner.url), { context: { signal: stop.signal } });
  expect(provenance.outcomeUnknown).toBe(true);
  expect(runner.seen.map(({ method }) => method)).toEqual(['POST', 'DELETE']);
});

test('who leaves while the job is submitted leaves when its id is kept, and the job goes on', async () => {
  const leave = new AbortController();
  const told: ExecutionHandle[] = [];
  const runner = await standInRunner(({ method }, response) => {
    if (method === 'POST') leave.abort();
    answerJson(response, { jobId: 'j1', cancellable: true });
  });
  open.push(runner);
  const leaving = (targetKnown: (handle: ExecutionHandle) => Promise<void>) =>
    runOrLeave(backend(), request(runner.url), bundledProfile('default')!, {
      signal: new AbortController().signal,
      leave: leave.signal,
      hostEnv: {},
      runKey: 'k-2',
      output: () => undefined,
      targetKnown,
    });
  expect(await leaving((handle) => Promise.resolve(void told.push(handle)))).toBe('left');
  expect([told[0]?.metadata?.runnerJobId, runner.seen.map(({ method }) => method)]).toEqual(['j1', ['POST']]);
  // What nobody can know of is nobody's to wait for.
  expect(await leaving(() => Promise.reject(new Error('stale')))).toMatchObject({ status: 'refused' });
  expect(runner.seen.map(({ method }) => method)).toEqual(['POST', 'POST', 'DELETE']);
});

test('a runner that will call is asked when it has called, and slowly otherwise', async () => {
  const runner = await jobRunner();
  const called = new AbortController();
  const callback = { url: 'https://api.example/call', secret: new Secret('whsec_x') };
  const running = execute(backend(), request(runner.url), { context: { callback, doneHint: called.signal } });
  await eventually(() => expect(runner.seen).toHaveLength(1));
  expect(runner.seen[0]!.body.callback).toEqual({ url: callback.url, secret: 'whsec_x' });
  runner.finish();
  called.abort();
  const { status, provenance } = await running;
  expect(status).toBe('completed');
  expect(runner.count('GET')).toBe(1);
  expect(JSON.stringify(provenance)).not.toContain('whsec_x');
});

test('a runner whose call is lost is asked all the same, at the latest at the deadline', async () => {
  for (const [safetyPollMs, timeoutMs] of [
    [50, 20_000],
    [60_000, 300],
  ] as const) {
    const runner = await jobRunner();
    runner.finish();
    const callback = { url: 'https://api.example/call', secret: new Secret('whsec_x') };
    const { status } = await execute(backend(safetyPollMs), request(runner.url, timeoutMs), {
      context: { callback, doneHint: new AbortController().signal },
    });
    expect(status).toBe('completed');
  }
});
