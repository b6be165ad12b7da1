import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { stopProcess } from '../../ledger/background-process';
import { startTemporalDevServer, type TemporalDevServer } from '../../workers/temporal-dev-server';
import { Cluster } from '../support/cluster';
import { expectAllEndedOnce } from '../support/cluster-invariants';
import { when } from '../support/policy';
import { temporaryFolder } from '../support/temporary-folder';

const dataDir = path.join(temporaryFolder(), 'temporal');
const ONCE = { ends: ['completed'], deliveries: 1 } as const;
let temporal: TemporalDevServer;
let cluster: Cluster;

const startTemporal = async (): Promise<TemporalDevServer> =>
  startTemporalDevServer({ dataDir, searchAttributes: Object.values(SEARCH_ATTRIBUTES) });

beforeAll(async () => {
  mkdirSync(dataDir);
  temporal = await startTemporal();
  const rule = 'decision: dispatch, to: { pool: crows }, deadlines: { start: 60s, run: 4s, late: 1s }';
  cluster = await Cluster.prepare({
    rules: [when('all', 'true', rule)],
    script: {
      rules: [
        { match: { action: 'slow' }, behaviour: 'complete', after_ms: 500 },
        { match: { action: 'silent' }, behaviour: 'silent' },
      ],
    },
    temporal: { address: temporal.address, namespace: 'default' },
  });
  await cluster.start('api', 'control', 'worker', 'crow');
}, 120_000);
afterAll(async () => {
  await cluster?.close();
  await temporal.stop();
}, 60_000);

test('Temporal is killed under workloads in every state; events and ends that come meanwhile count', async () => {
  const address = temporal.address;
  for (let number = 0; number < 4; number += 1) await cluster.post(ONCE, { action: 'slow' });
  await cluster.state(cluster.posted[0]!, 'running');
  await stopProcess(temporal.pid, [{ signal: 'SIGKILL', waitMs: 5_000 }]);
  const meanwhile = await cluster.post(ONCE);
  expect((await cluster.record(meanwhile)).state).toBe('accepted');
  await cluster.state(cluster.posted[0]!, 'completed');
  temporal = await startTemporal();
  expect(temporal.address).toBe(address);
  // All of them, since the worker is killed next: what OpenCrow tells nobody then is lost.
  for (const each of cluster.posted) await cluster.state(each, 'completed', 90_000);
}, 240_000);

test('a history deleted under a workload that waits for a worker: it is offered again by a new run', async () => {
  await cluster.kill('worker');
  const posted = await cluster.post(ONCE);
  await cluster.state(posted, 'queued');
  await cluster.deleteHistory(posted);
  await cluster.startOne('worker');
  await cluster.state(posted, 'completed', 90_000);
}, 120_000);

test('a history deleted under a workload that waits for its end: its deadline is kept by a new run', async () => {
  const posted = await cluster.post({ ends: ['lost'], deliveries: 1 }, { action: 'silent' });
  await cluster.state(posted, 'running');
  await cluster.deleteHistory(posted);
  await cluster.state(posted, 'lost', 90_000);
}, 120_000);

test('after all of it each event has come to one end, and nothing is left', async () => {
  await expectAllEndedOnce(cluster);
  await cluster.stop();
}, 120_000);
