import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Secret } from '../../contracts/secret';
import { signedHeaders } from '../../domain/webhooks/signature';
import { standInDocker, type StandInDocker } from '../executors/harness';
import { Cluster, type Posted } from '../support/cluster';
import { eventually } from '../support/eventually';
import { answerJson, standInRunner, type StandInRunner } from '../support/stand-in/runner';
import { temporaryFolder } from '../support/temporary-folder';

let docker: StandInDocker;
let runner: StandInRunner;
let cluster: Cluster;
/** Jobs that the runner has finished, by id. Its ids are the idempotency keys. */
const finished = new Set<string>();
/** A worker that waited for its grace would outlast the test's patience. */
const workerArgs = ['--shutdown-grace', '90s'];

const rule = (action: string, executor: string, run: string): string =>
  `{ id: ${action}, when: 'event.action == "${action}"', decision: dispatch, to: { pool: crows, executor: ${executor} }, run: ${run} }`;

beforeAll(async () => {
  docker = standInDocker(temporaryFolder());
  runner = await standInRunner(({ method, url, headers }, response) => {
    const jobId = method === 'POST' ? String(headers['idempotency-key']) : url.split('jobId=')[1]!;
    answerJson(
      response,
      finished.has(jobId) ? { jobId, done: true, exitCode: 0, stdout: 'hi' } : { jobId, cancellable: true },
    );
  });
  const folder = temporaryFolder();
  writeFileSync(path.join(folder, 'key'), 'k'.repeat(40), { mode: 0o600 });
  process.env.WORKLOADD_SIGNING_KEY_FILE = path.join(folder, 'key');
  process.env.WORKLOADD_COMMAND_LEASE = '5s';
  const job = (completion: string): string =>
    `{ command: 'true', endpoint: '${runner.url}', completion: ${completion} }`;
  cluster = await Cluster.prepare({
    rules: [
      rule('boxed', 'container', `{ command: sleep, args: ['300'], image: 'alpine:3' }`),
      rule('job', 'remote', job('poll')),
      rule('called', 'remote', job('webhook')),
    ],
    backends: 'container,remote',
    maxOpenDeliveries: 6,
    workerArgs,
    workerEnv: {
      PATH: docker.env.PATH,
      DOCKER_STAND_IN: docker.state,
      WORKLOADD_RUNNER_PRIVATE_HOSTS: '127.0.0.1',
    },
  });
  await cluster.start('api', 'control', 'worker');
});
afterAll(async () => {
  await cluster.close();
  await runner.close();
  delete process.env.WORKLOADD_SIGNING_KEY_FILE;
  delete process.env.WORKLOADD_COMMAND_LEASE;
});

const containers = (): string[] => readdirSync(docker.state).filter((name) => name.startsWith('container-'));
const post = (action: string): Promise<Posted> =>
  cluster.post({ ends: ['completed', 'lost', 'cancelled'], deliveries: 1 }, { action });
const submits = () => runner.seen.filter(({ method }) => method === 'POST');

async function boxed(): Promise<Posted> {
  const posted = await post('boxed');
  await cluster.state(posted, 'running');
  await eventually(() => expect(containers()).toHaveLength(1));
  return posted;
}

async function job(action: string): Promise<{ posted: Posted; jobId: string; submit: (typeof runner.seen)[number] }> {
  const posted = await post(action);
  const submit = await eventually(
    () => submits().find(({ headers }) => keyOf(headers).startsWith(posted.id.slice('wl_'.length))) ?? null,
  );
  await eventually(async () => ((await cluster.record(posted)).deliveries[0]?.target ? true : null));
  return { posted, jobId: keyOf(submit.headers), submit };
}
const keyOf = (headers: Record<string, unknown>): string => String(headers['idempotency-key']);

/** What the killed worker was at. */
let left: Awaited<ReturnType<typeof job>>;
let leftBox: Posted;

test('kill -9 of a worker: the next start removes its container', async () => {
  leftBox = await boxed();
  left = await job('job');
  await cluster.kill('worker');
  expect(containers()).toHaveLength(1);
  await cluster.start('worker');
  await eventually(() => expect(containers()).toEqual([]));
});

test('a runner that calls is asked at once', async () => {
  const { posted, jobId, submit } = await job('called');
  finished.add(jobId);
  const { url, secret } = submit.body.callback as { url: string; secret: string };
  const body = JSON.stringify({ jobId, done: true });
  const headers = { ...signedHeaders([new Secret(secret)], 'msg_1', Date.now() / 1000, body) };
  expect((await fetch(url, { method: 'POST', body, headers })).status).toBe(204);
  await cluster.state(posted, 'completed');
});

test('after a cancel the container is gone', async () => {
  const posted = await boxed();
  await cluster.ask('POST', `/api/workloads/${posted.id}/cancel`, { reason: 'test' });
  await eventually(() => expect(containers()).toEqual([]));
  await cluster.state(posted, 'cancelled');
});

test('a worker that is told to stop leaves its job at once, and the next waits for its end', async () => {
  const { posted, jobId } = await job('job');
  const { code, tookMs } = await cluster.terminate('worker');
  expect(code).toBe(0);
  expect(tookMs).toBeLessThan(45_000);
  expect((await cluster.record(posted)).state).toBe('running');
  workerArgs.splice(0);
  await cluster.start('worker');
  finished.add(jobId);
  await cluster.state(posted, 'completed');
  const asked = runner.seen.filter(({ url, headers }) => keyOf(headers) === jobId || url.includes(jobId));
  expect(asked.map(({ method }) => method).filter((method) => method !== 'GET')).toEqual(['POST']);
  expect((await cluster.record(posted)).deliveries).toHaveLength(1);
}, 120_000);

test('after a stop of the worker the container is gone', async () => {
  const posted = await boxed();
  await cluster.terminate('worker');
  await eventually(() => expect(containers()).toEqual([]));
  await cluster.state(posted, 'lost');
  await cluster.start('worker');
}, 60_000);

test('the job of the killed worker is waited for by the next, and was submitted once', async () => {
  finished.add(left.jobId);
  await cluster.state(left.posted, 'completed');
  expect(submits().filter(({ headers }) => keyOf(headers) === left.jobId)).toHaveLength(1);
  expect((await cluster.record(left.posted)).deliveries).toHaveLength(1);
  await cluster.state(leftBox, 'lost');
}, 120_000);
