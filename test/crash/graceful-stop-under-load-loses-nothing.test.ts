import { Cluster } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { eventually } from '../support/eventually';
import { when } from '../support/policy';

const ONCE = { ends: ['completed'], deliveries: 1 } as const;
/** As the processes are started with, and what they need beside it. */
const GRACE_MS = 10_000;
const SLACK_MS = 5_000;
let cluster: Cluster;
beforeAll(async () => {
  const rule = 'decision: dispatch, to: { pool: crows }, deadlines: { start: 60s, run: 60s, late: 1s }';
  cluster = await Cluster.prepare({
    rules: [when('all', 'true', rule)],
    script: { default: { behaviour: 'complete', after_ms: 40 } },
  });
  await cluster.start('api', 'standby', 'control', 'worker', 'crow');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

async function load(): Promise<void> {
  await Promise.all(Array.from({ length: 8 }, () => cluster.post(ONCE)));
}

test.each(['api', 'control'] as const)(
  '%s stops in order within its grace while events come in',
  async (role) => {
    const loading = load();
    expect(await cluster.terminate(role)).toMatchObject({ code: 0, signal: null });
    await loading;
    await cluster.startOne(role);
  },
  60_000,
);

test('the worker stops in order within its grace, gives back what it waits with, and no line gets lost', async () => {
  // With the pipe's reader paused nothing runs that could not be heard of while the worker is away.
  cluster.crow.say('pause');
  await load();
  await eventually(async () => expect(await open()).toEqual({ delivered: 1, running: 0 }), { timeout: 30_000 });
  const { code, tookMs } = await cluster.terminate('worker');
  expect({ code, inTime: tookMs < GRACE_MS + SLACK_MS }).toEqual({ code: 0, inTime: true });
  await cluster.startOne('worker');
  cluster.crow.say('resume');
}, 60_000);

async function open(): Promise<{ delivered: number; running: number }> {
  const [row] = await cluster.db.query<{ delivered: number; running: number }>(
    `SELECT count(*) FILTER (WHERE state = 'delivered')::int AS delivered,
       count(*) FILTER (WHERE state = 'running')::int AS running FROM workloads`,
  );
  return row!;
}

test('after all of it each event was handed over once and completed, and nothing is left', async () => {
  await expectAllEndedOnce(cluster);
  expect(await cluster.db.query("SELECT 1 FROM audit WHERE type = 'workload.attempt_failed'")).toEqual([]);
  await cluster.stop();
}, 120_000);
