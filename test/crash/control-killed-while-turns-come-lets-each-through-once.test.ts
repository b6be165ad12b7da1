import { Cluster, type Posted } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { when } from '../support/policy';

let cluster: Cluster;
beforeAll(async () => {
  const to = 'decision: dispatch, to: { pool: crows }';
  cluster = await Cluster.prepare({
    rules: [when('quiet', 'true', `${to}, debounce: { for: 1s, key: event.event_id }`)],
  });
  await cluster.start('api', 'worker', 'crow');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

test('a control worker killed before or after the commit of a look at a lane: the next one lets each through, once', async () => {
  const posted: Posted[] = [];
  for (const point of ['pump-uncommitted', 'pump-committed'] as const) {
    posted.push(await cluster.post({ ends: ['completed'], deliveries: 1 }));
    await cluster.startOne('control', point);
    await cluster.diedAt('control');
  }
  for (const each of posted) expect((await cluster.record(each)).waiting_for).toBe('debounce');
  await cluster.startOne('control');
  for (const each of posted) await cluster.state(each, 'completed');
  await expectAllEndedOnce(cluster);
  await cluster.stop();
}, 120_000);
