import { Cluster, type Armed, type Posted } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { eventually } from '../support/eventually';
import { when } from '../support/policy';

const script = {
  rules: [
    { match: { action: 'silent' }, behaviour: 'silent' },
    // Long after the run deadline, so that it is under way by then on a busy machine too.
    { match: { action: 'slow' }, behaviour: 'complete', after_ms: 4_000 },
  ],
};
let cluster: Cluster;
beforeAll(async () => {
  const to = 'decision: dispatch, to: { pool: crows }';
  const hurried = `${to}, deadlines: { start: 60s, run: 1s, late: 10s }`;
  cluster = await Cluster.prepare({
    script,
    rules: [
      when('hurried', 'event.action != "work"', hurried),
      when('all', 'true', `${to}, deadlines: { start: 60s, run: 60s, late: 1s }`),
    ],
  });
  await cluster.start('api', 'worker', 'crow');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

const COMPLETES = { ends: ['completed'], deliveries: 1 } as const;

test('a control worker killed before or after the commit of a decision: the next one ends what it left', async () => {
  const posted: Posted[] = [];
  for (const point of ['admit-uncommitted', 'admit-committed'] as const) {
    posted.push(await cluster.post(COMPLETES));
    await cluster.startOne('control', point);
    await cluster.diedAt('control');
  }
  const states = await Promise.all(posted.map((each) => cluster.record(each)));
  expect(states[0]!.decision).toBeNull();
  expect(states[1]!.state).toBe('queued');
  await cluster.startOne('control');
  for (const each of posted) await cluster.state(each, 'completed');
}, 120_000);

/** The run deadline is applied and not committed; meanwhile the end arrives at the api and waits for the row. */
async function endMeetsDeadline(): Promise<Posted> {
  const posted = await cluster.post(COMPLETES, { action: 'slow' });
  await cluster.emitted(posted, 'completed');
  await eventually(() => cluster.waitsForLock(), { timeout: 30_000 });
  expect((await cluster.record(posted)).state).toBe('running');
  return posted;
}

test('an end that arrives while its deadline is being applied: the deadline is killed, and the end counts', async () => {
  await cluster.kill('control');
  await cluster.startOne('control', 'deadline-uncommitted:stop' satisfies Armed);
  const posted = await endMeetsDeadline();
  await cluster.kill('control');
  await cluster.state(posted, 'completed');
  expect(await cluster.record(posted)).toMatchObject({ corrected: false, reason: 'executor_completed' });
  await cluster.startOne('control');
}, 120_000);

test('an end that arrives while its deadline is being applied: the deadline goes on, and the end corrects it', async () => {
  await cluster.kill('control');
  const control = await cluster.startOne('control', 'deadline-uncommitted:stop' satisfies Armed);
  const posted = await endMeetsDeadline();
  control.signal('SIGCONT');
  await cluster.state(posted, 'completed');
  expect(await cluster.record(posted)).toMatchObject({ corrected: true, reason: 'late_correction' });
}, 120_000);

test('a control worker killed after the commit of a deadline: the next one learns of it from the ledger', async () => {
  await cluster.kill('control');
  await cluster.startOne('control', 'deadline-committed');
  const posted = await cluster.post({ ends: ['lost'], deliveries: 1 }, { action: 'silent' });
  await cluster.diedAt('control');
  expect((await cluster.record(posted)).state).toBe('lost');
  await cluster.startOne('control');
}, 120_000);

test('after all of it each event has come to one end, and nothing is left', async () => {
  await expectAllEndedOnce(cluster);
  await cluster.stop();
}, 120_000);
