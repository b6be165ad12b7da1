import path from 'node:path';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { pino } from 'pino';
import { createOpenCrowExecutor } from '../../executors/opencrow';
import { enrolWorker } from '../../ledger/enrol-worker';
import { startPoolWorker, type PoolWorker } from '../../workers/pool-worker';
import { startTestApi, type TestApi } from '../support/api-server';
import { testEnvironment } from '../support/environment';
import { eventually } from '../support/eventually';
import { temporaryFolder } from '../support/temporary-folder';

const folder = temporaryFolder();
const logger = pino({ level: 'silent' });
Runtime.install({ logger: new DefaultLogger('ERROR') });
let api: TestApi;
beforeAll(async () => (api = await startTestApi()));
afterAll(() => api.stop());

async function startWorker(workerId: string, temporalAddress: string): Promise<PoolWorker> {
  const { plaintext } = await enrolWorker(api.db, { workerId, poolId: 'default', actor: 'test' });
  return startPoolWorker({
    apiUrl: api.url,
    workerId,
    poolId: 'default',
    credential: () => plaintext,
    target: { connection: { address: temporalAddress }, namespace: 'default' },
    executors: [
      createOpenCrowExecutor({
        triggerPipe: path.join(folder, 'trigger.pipe'),
        lifecycleSocket: path.join(folder, `${workerId}.sock`),
        spoolDir: path.join(folder, workerId),
        logger,
      }),
    ],
    version: '1.2.3',
    graceMs: 2_000,
    heartbeatMs: 100,
    onMisplaced: (error) => {
      throw error;
    },
    logger,
  });
}

const setState = (workerId: string, status: string) =>
  api.db.query('UPDATE workers SET status = $2 WHERE worker_id = $1', [workerId, status]);

test('it polls while it is active, stops while it is not, and tells its version and load', async () => {
  const worker = await startWorker('obedient', testEnvironment.temporalAddress);
  await eventually(() => worker.isPolling());
  for (const state of ['paused', 'draining', 'unhealthy']) {
    await setState('obedient', state);
    await eventually(() => worker.standing() === state && !worker.isPolling());
    await setState('obedient', 'active');
    await eventually(() => worker.isPolling());
  }
  const [row] = await api.db.query<{ version: string; current_load: number }>(
    "SELECT version, current_load FROM workers WHERE worker_id = 'obedient'",
  );
  expect(row).toEqual({ version: '1.2.3', current_load: 0 });
  await setState('obedient', 'revoked');
  await eventually(() => !worker.isPolling());
  expect(['revoked', 'refused']).toContain(worker.standing());
  await worker.stop(2_000);
});

test('it starts and stops while Temporal is not there', async () => {
  const worker = await startWorker('patient', '127.0.0.1:1');
  await eventually(() => worker.standing() === 'active');
  expect(worker.isPolling()).toBe(false);
  await worker.stop(1_000);
});
