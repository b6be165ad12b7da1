import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Cluster } from '../support/cluster';
import { eventually } from '../support/eventually';

const rule = (action: string, script: string, more = ''): string =>
  `{ id: ${action}, when: 'event.action == "${action}"', decision: dispatch, to: { pool: crows, executor: node }, run: { command: sh, args: ['-c', ${JSON.stringify(script)}]${more} } }`;

const RULES = [
  rule('once', 'sleep 300'),
  rule('again', 'if [ -e again.begun ]; then echo second; else touch again.begun; sleep 300; fi', ', rerunnable: true'),
  rule('unheard', 'touch unheard.begun; while [ ! -e unheard.go ]; do sleep 0.05; done; touch unheard.over'),
];

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.prepare({
    rules: RULES,
    backends: 'node',
    maxOpenDeliveries: 4,
    apiArgs: ['--command-lease', '8s'],
  });
  await cluster.start('api', 'control', 'worker');
});
afterAll(() => cluster.close());

const post = (action: string) => cluster.post({ ends: ['completed', 'lost'], deliveries: 2 }, { action });
const inWorkspace = (name: string): string => path.join(cluster.workspace, name);

test('a command whose end the api does not hear of is reported when it is back', async () => {
  const posted = await post('unheard');
  await cluster.state(posted, 'running');
  await eventually(() => existsSync(inWorkspace('unheard.begun')));
  await cluster.kill('api');
  writeFileSync(inWorkspace('unheard.go'), '');
  await eventually(() => existsSync(inWorkspace('unheard.over')));
  await eventually(() => /is not reported yet/.test(cluster.process('worker').stderr));
  await cluster.start('api');
  await cluster.state(posted, 'completed');
});

test('kill -9 of a worker makes its command lost when its lease ends, and runs it again only where the rule says so', async () => {
  const [once, again] = await Promise.all([post('once'), post('again')]);
  await Promise.all([cluster.state(once, 'running'), cluster.state(again, 'running')]);
  await eventually(() => existsSync(inWorkspace('again.begun')));
  await cluster.kill('worker');
  await cluster.start('worker');
  await Promise.all([cluster.state(once, 'lost'), cluster.state(again, 'completed')]);

  const lost = await cluster.record(once);
  expect([lost.reason, lost.deliveries.length]).toEqual(['lease_expired', 1]);
  expect((await cluster.record(again)).deliveries).toHaveLength(2);
  // Temporal repeats nothing by itself: what runs again was offered anew.
  const scheduled = async (posted: { id: string }): Promise<number> =>
    (await cluster.history(posted)).match(/EVENT_TYPE_ACTIVITY_TASK_SCHEDULED/g)!.length;
  expect([await scheduled(once), await scheduled(again)]).toEqual([1, 2]);
}, 120_000);
