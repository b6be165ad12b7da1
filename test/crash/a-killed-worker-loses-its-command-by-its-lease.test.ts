import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { claim } from '../../ledger/claims';
import { recordIntent } from '../../ledger/deliveries';
import { enrolWorker } from '../../ledger/enrol-worker';
import { finishCommand } from '../../ledger/finish-command';
import { settle } from '../../ledger/settlement';
import { authenticateWorker } from '../../ledger/workers';
import { Cluster } from '../support/cluster';
import { exitedWith } from '../support/envelopes';
import { eventually } from '../support/eventually';
import { intentKey } from '../support/fresh-ledger';

const rule = (action: string, script: string, more = ''): string =>
  `{ id: ${action}, when: 'event.action == "${action}"', decision: dispatch, to: { pool: crows, executor: node }, run: { command: sh, args: ['-c', ${JSON.stringify(script)}]${more} } }`;

const RULES = [
  rule('once', 'sleep 300'),
  rule('again', 'if [ -e again.begun ]; then echo second; else touch again.begun; sleep 300; fi', ', rerunnable: true'),
  rule(
    'frozen',
    'touch frozen.begun; while [ ! -e frozen.go ]; do sleep 0.05; done; touch frozen.over',
    ', rerunnable: true',
  ),
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

test('a worker that was frozen past its lease is refused what it says of a unit that another has finished', async () => {
  const posted = await post('frozen');
  await cluster.state(posted, 'running');
  await eventually(() => existsSync(inWorkspace('frozen.begun')));
  const worker = cluster.process('worker');
  worker.signal('SIGSTOP');
  writeFileSync(inWorkspace('frozen.go'), '');
  await eventually(() => existsSync(inWorkspace('frozen.over')));
  await eventually(async () => expect(await settle(cluster.db, posted.id, 1_000)).toMatchObject({ state: 'queued' }), {
    timeout: 20_000,
  });

  const other = { workerId: 'other', poolId: 'crows', maxOpenDeliveries: 1, actor: 'test' };
  const principal = (await authenticateWorker(cluster.db, (await enrolWorker(cluster.db, other)).plaintext.reveal()))!;
  const { lease_token: leaseToken, run } = await claim(cluster.db, principal, posted.id);
  const write = { principal, workId: posted.id, leaseToken };
  await recordIntent(cluster.db, write, intentKey());
  await finishCommand(cluster.db, write, { envelope: exitedWith(0, { run: run! }) });

  worker.signal('SIGCONT');
  const refused = () =>
    cluster.db.query<{ write: string; presented: string; current: string }>(
      `SELECT DISTINCT detail ->> 'write' AS write, detail ->> 'presented_epoch' AS presented, detail ->> 'current_epoch' AS current
       FROM audit WHERE workload_id = $1 AND type = 'lease.stale_write_rejected'`,
      [posted.id],
    );
  await eventually(async () =>
    expect(await refused()).toContainEqual({ write: 'finish', presented: '1', current: '2' }),
  );
  const { state, deliveries } = await cluster.record(posted);
  // What is told of the first one's end as evidence comes after this, or before: it changes no outcome.
  expect(state).toBe('completed');
  expect(deliveries).toMatchObject([{ worker_id: 'crow' }, { status: 'completed', worker_id: 'other' }]);
}, 60_000);

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
