import { Cluster, type Armed } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { when } from '../support/policy';

const ONCE = { ends: ['completed'], deliveries: 1 } as const;
let cluster: Cluster;
beforeAll(async () => {
  const rule = 'decision: dispatch, to: { pool: crows }, deadlines: { start: 60s, run: 60s, late: 1s }';
  cluster = await Cluster.prepare({ rules: [when('all', 'true', rule)] });
  await cluster.start('standby', 'control', 'crow');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

/** The api dies at `point` while an event goes its way, and comes back. */
async function killedAt(point: Armed): Promise<string> {
  const api = await cluster.startOne('api', point);
  if (!cluster.isRunning('worker')) await cluster.startOne('worker');
  const posted = await cluster.post(ONCE);
  await cluster.diedAt('api');
  expect(api.isRunning).toBe(false);
  await cluster.startOne('api');
  await cluster.state(posted, 'completed');
  await cluster.kill('api');
  return posted.id;
}

test('an api killed between its commit and the start of the workflow: another replica starts it, once', async () => {
  await cluster.startOne('api', 'accept-committed');
  const event = { source: 'test', action: 'work', event_id: 'unanswered', data: {} };
  await expect(cluster.ask('POST', '/api/events', event, 'api')).rejects.toThrow();
  await cluster.diedAt('api');
  // The connector got no answer, so it posts again: the ledger has the event.
  const again = await cluster.ask('POST', '/api/events', event, 'standby');
  expect(again).toMatchObject({ status: 202, body: { duplicate: true } });
  const posted = await cluster.post(ONCE, event);
  await cluster.startOne('api');
  await cluster.startOne('worker');
  await cluster.state(posted, 'completed');
  await cluster.kill('api');
}, 120_000);

test.each<Armed>(['wake-told', 'claim-committed', 'intent-committed', 'lifecycle-committed'])(
  'an api killed at %s: the workload is handed over once and completes',
  async (point) => {
    const id = await killedAt(point);
    expect(cluster.crow.received().filter((received) => received === id)).toHaveLength(1);
  },
  120_000,
);

test('lifecycle that comes while no api is there waits in the spool, through a kill of the worker too', async () => {
  await cluster.startOne('api');
  cluster.crow.say('pause');
  const posted = await cluster.post(ONCE);
  await cluster.state(posted, 'delivered');
  await cluster.kill('api');
  cluster.crow.say('resume');
  await cluster.emitted(posted, 'completed');
  await cluster.kill('worker');
  await cluster.start('api', 'worker');
  await cluster.state(posted, 'completed');
}, 120_000);

test('after all of it each event has come to one end, and nothing is left', async () => {
  await expectAllEndedOnce(cluster);
  await cluster.stop();
}, 120_000);
