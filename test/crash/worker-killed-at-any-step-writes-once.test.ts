import { Cluster, type Armed, type Posted, type Story } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { eventually } from '../support/eventually';
import { when } from '../support/policy';

let cluster: Cluster;
beforeAll(async () => {
  const to = 'decision: dispatch, to: { pool: crows }';
  cluster = await Cluster.prepare({
    rules: [
      when('unwritten', 'event.action == "unwritten"', `${to}, deadlines: { start: 5s, run: 60s, late: 1s }`),
      when('all', 'true', `${to}, deadlines: { start: 2m, run: 60s, late: 1s }`),
    ],
    maxOpenDeliveries: 20,
  });
  await cluster.start('api', 'control', 'crow');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

const COMPLETES: Story = { ends: ['completed'], deliveries: 1 };
const IS_LOST: Story = { ends: ['lost'], deliveries: 1 };

/** Those whose claims are refused afterwards come first: so no later process meets its debug point with an earlier event. */
const STEPS: readonly [Armed, string, Story, { state: string; write: string | undefined }][] = [
  ['after-report', 'work', COMPLETES, { state: 'delivered', write: 'written' }],
  ['after-write', 'work', COMPLETES, { state: 'delivered', write: 'intended' }],
  ['after-intent', 'unwritten', IS_LOST, { state: 'delivered', write: 'intended' }],
  ['before-intent', 'work', COMPLETES, { state: 'queued', write: undefined }],
  ['after-claim', 'work', COMPLETES, { state: 'queued', write: undefined }],
  ['before-claim', 'work', COMPLETES, { state: 'queued', write: undefined }],
];

test('killed at each step, then started again: written once, or never once there is an intent', async () => {
  const posted: Posted[] = [];
  // Lines wait in the pipe until a worker listens again, so that OpenCrow's answers are heard.
  cluster.crow.say('pause');
  for (const [point, action, story, left] of STEPS) {
    await cluster.startOne('worker', point);
    const event = await cluster.post(story, { action });
    await cluster.diedAt('worker');
    const { state, deliveries } = await cluster.record(event);
    expect({ point, state, write: deliveries[0]?.write }).toEqual({ point, ...left });
    posted.push(event);
  }
  await cluster.startOne('worker');
  cluster.crow.say('resume');
  await eventually(() => expect(cluster.crow.received().sort()).toEqual(writtenOf(posted)), { timeout: 90_000 });
}, 240_000);

/** All but the one that had an intent and no write. */
const writtenOf = (posted: readonly Posted[]): string[] =>
  posted
    .filter(({ ends }) => ends[0] === 'completed')
    .map(({ id }) => id)
    .sort();

test('after all of it each event has come to one end, and nothing is left', async () => {
  await expectAllEndedOnce(cluster);
  await cluster.stop();
}, 120_000);
