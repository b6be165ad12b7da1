import { Cluster } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { eventually } from '../support/eventually';
import { when } from '../support/policy';

const script = {
  rules: [
    { match: { contains: '~2' }, behaviour: 'complete' },
    { match: { action: 'dies' }, behaviour: 'crash' },
    { match: { action: 'dies-once' }, behaviour: 'crash' },
  ],
};
let cluster: Cluster;
beforeAll(async () => {
  const rule = 'decision: dispatch, to: { pool: crows }, deadlines: { start: 60s, run: 3s, late: 1s }';
  cluster = await Cluster.prepare({
    script,
    rules: [
      when('again', 'event.action == "dies-once"', `${rule}, retry: { redeliver_on: [lost] }`),
      when('all', 'true', rule),
    ],
    maxOpenDeliveries: 4,
  });
  await cluster.start('api', 'control', 'crow');
  await cluster.startOne('worker');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

test('OpenCrow dies in mid-run: lost by the run deadline, delivered again only by its rule; its inbox survives', async () => {
  cluster.crow.say('pause');
  const once = await cluster.post({ ends: ['lost'], deliveries: 1 }, { action: 'dies' });
  const again = await cluster.post({ ends: ['completed'], deliveries: 2 }, { action: 'dies-once' });
  const waiting = await cluster.post({ ends: ['completed'], deliveries: 1 });
  for (const each of [once, again, waiting]) await cluster.state(each, 'delivered');
  cluster.crow.say('resume');
  // Two of the three kill it, in whatever order they came through the pipe.
  for (let deaths = 0; deaths < 2; deaths += 1) {
    await cluster.diedAt('crow');
    await cluster.startOne('crow');
  }
  await cluster.state(waiting, 'completed');
  await cluster.state(once, 'lost');
  await cluster.state(again, 'completed');
  const { deliveries } = await cluster.record(again);
  expect(deliveries.map(({ number, status }) => [number, status])).toEqual([
    [1, 'lost'],
    [2, 'completed'],
  ]);
  await eventually(() =>
    expect(cluster.crow.received().sort()).toEqual([once.id, again.id, `${again.id}~2`, waiting.id].sort()),
  );
}, 120_000);

test('after all of it each event has come to one end, and nothing is left', async () => {
  await expectAllEndedOnce(cluster);
  await cluster.stop();
}, 120_000);
