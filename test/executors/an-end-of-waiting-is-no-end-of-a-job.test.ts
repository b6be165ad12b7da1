import type { Secret } from '../../contracts/secret';
import { Problem } from '../../contracts/problems';
import { ControlPlaneUnavailable } from '../../executors/control-plane-client';
import { settle } from '../../ledger/settlement';
import { enrolWorker } from '../../ledger/enrol-worker';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { workOn, type Working } from '../support/command-worker';
import { eventually } from '../support/eventually';
import { answerJson, standInRunner, type StandInRunner } from '../support/stand-in/runner';

let api: TestApi;
let runner: StandInRunner;
let done = false;
const credentials = new Map<string, Secret>();
beforeAll(async () => {
  api = await startTestApi({ config: { commandLeaseMs: 6_000 } });
  runner = await standInRunner(({ method }, response) =>
    answerJson(
      response,
      method === 'GET' && done
        ? { jobId: 'j1', done: true, exitCode: 0, stdout: 'hi' }
        : { jobId: 'j1', cancellable: true },
    ),
  );
  const source = `version: 1
default: { decision: ignore }
rules:
  - id: job
    when: event.action == "job"
    decision: dispatch
    to: { pool: default, executor: remote }
    run: { command: make, endpoint: '${runner.url}' }
  - id: again
    when: event.action == "again"
    decision: dispatch
    to: { pool: default, executor: node }
    run: { command: sleep, args: ['300'], rerunnable: true }
`;
  await api.ask('PUT', '/api/policy', { json: { source } });
  for (const workerId of ['w1', 'w2']) {
    const worker = { workerId, poolId: 'default', maxOpenDeliveries: 10, actor: 'test' };
    credentials.set(workerId, (await enrolWorker(api.db, worker)).plaintext);
  }
});
beforeEach(() => {
  done = false;
  runner.seen.splice(0);
});
afterAll(async () => {
  await runner.close();
  await api.stop();
});

const work = (workerId: string, workId: string, kind: 'node' | 'remote'): Working =>
  workOn(api, { workerId, credential: credentials.get(workerId)!, workId, kind });

async function queued(action: string): Promise<string> {
  const json = { ...anEvent(`${action}-${Math.random()}`), action };
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json })).body;
  await api.admit(id);
  return id;
}

const record = async (id: string) => (await api.ask('GET', `/api/workloads/${id}`)).body;
const isWaitedFor = (id: string) =>
  eventually(async () => {
    expect((await record(id)).state).toBe('running');
    const [delivery] = await api.db.query<{ target: string | null }>(
      'SELECT target FROM deliveries WHERE workload_id = $1',
      [id],
    );
    expect(delivery!.target).not.toBeNull();
  });
const methods = () => [...new Set(runner.seen.map(({ method }) => method))];
/** Nobody renewed the lease, as when its worker could not reach the api. */
const outliveLease = (id: string) =>
  api.db.query("UPDATE leases SET expires_at = clock_timestamp() - interval '1 second' WHERE work_id = $1", [id]);

test('a worker that stops leaves the job of a runner to the next one, and waits for no grace', async () => {
  const id = await queued('job');
  const first = work('w1', id, 'remote');
  await isWaitedFor(id);
  first.drain.abort();
  expect(await first.outcome).toMatchObject({ outcome: 'hand_back' });
  expect((await record(id)).state).toBe('running');
  const second = work('w2', id, 'remote');
  done = true;
  expect(await second.outcome).toMatchObject({ outcome: 'finished', state: 'completed' });
  expect(methods()).toEqual(['POST', 'GET']);
  expect(runner.seen.filter(({ method }) => method === 'POST')).toHaveLength(1);
});

test('a worker whose lease another has by now leaves it the job', async () => {
  const id = await queued('job');
  const first = work('w1', id, 'remote');
  await isWaitedFor(id);
  const renew = jest.spyOn(first.control, 'renew').mockRejectedValue(new ControlPlaneUnavailable('test', null));
  await outliveLease(id);
  const second = work('w2', id, 'remote');
  await eventually(async () => {
    const [lease] = await api.db.query('SELECT 1 FROM leases WHERE work_id = $1 AND epoch = 2', [id]);
    expect(lease).toBeDefined();
  });
  renew.mockRestore();
  expect(await first.outcome).toMatchObject({ outcome: 'hand_back' });
  done = true;
  expect(await second.outcome).toMatchObject({ outcome: 'finished', state: 'completed' });
  expect(methods()).toEqual(['POST', 'GET']);
});

test.each(['auth.required', 'worker.revoked'] as const)(
  'a worker that is shut out (%s) cancels no job',
  async (code) => {
    const id = await queued('job');
    const first = work('w1', id, 'remote');
    await isWaitedFor(id);
    jest.spyOn(first.control, 'renew').mockRejectedValue(new Problem(code, 'test'));
    expect(await first.outcome).toMatchObject({ outcome: 'hand_back' });
    expect((await record(id)).state).toBe('running');
    expect(methods()).not.toContain('DELETE');
  },
);

test('a job whose workload is cancelled is cancelled', async () => {
  const id = await queued('job');
  const { outcome } = work('w1', id, 'remote');
  await isWaitedFor(id);
  await api.ask('POST', `/api/workloads/${id}/cancel`, { json: { reason: 'test' } });
  expect(await outcome).toMatchObject({ outcome: 'finished', state: 'cancelled' });
  expect(methods()).toContain('DELETE');
});

test('a command that was cut off by the end of its lease runs again when its rule says so', async () => {
  const id = await queued('again');
  const { outcome } = work('w1', id, 'node');
  await eventually(async () => expect((await record(id)).state).toBe('running'));
  await outliveLease(id);
  expect(await settle(api.db, id, 1_000)).toMatchObject({ state: 'queued', delivery: 1 });
  await outcome;
  expect(await record(id)).toMatchObject({ state: 'queued' });
});
