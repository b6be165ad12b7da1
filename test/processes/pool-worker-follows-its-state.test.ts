import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { DefaultLogger, Runtime } from '@temporalio/worker';
import { pino } from 'pino';
import type { Secret } from '../../contracts/secret';
import type { WorkerMove } from '../../domain/worker-moves';
import { createOpenCrowExecutor } from '../../executors/opencrow';
import { enrolWorker } from '../../ledger/enrol-worker';
import { orderWorker } from '../../ledger/worker-orders';
import { startPoolWorker, type PoolWorker, type WorkerEnd } from '../../workers/pool-worker';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { testEnvironment } from '../support/environment';
import { eventually } from '../support/eventually';
import { startWorkloadd, type TestProcess } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

const folder = temporaryFolder();
const logger = pino({ level: 'silent' });
Runtime.install({ logger: new DefaultLogger('ERROR') });
let api: TestApi;
beforeAll(async () => (api = await startTestApi({ config: { heartbeatMs: 200 } })));
afterAll(() => api.stop());

/** Pools of these tests let nobody recover by himself. */
async function credentialOf(workerId: string): Promise<Secret> {
  const { plaintext } = await enrolWorker(api.db, { workerId, poolId: 'default', actor: 'test' });
  await api.db.query('UPDATE pools SET auto_recover = false');
  return plaintext;
}

async function startWorker(
  workerId: string,
  temporalAddress: string,
): Promise<{ worker: PoolWorker; ends: WorkerEnd[] }> {
  const plaintext = await credentialOf(workerId);
  const ends: WorkerEnd[] = [];
  const worker = await startPoolWorker({
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
    onEnd: (end) => ends.push(end),
    logger,
  });
  return { worker, ends };
}

const order = (workerId: string, move: WorkerMove) =>
  api.db.transaction((tx) => orderWorker(tx, workerId, move, { actor: 'test' }));

/** Gives the worker a live lease. Returns what ends it. */
async function holdLease(workerId: string): Promise<() => Promise<unknown>> {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: anEvent(`held-by-${workerId}`) })).body;
  await api.db.query(
    `INSERT INTO leases (work_id, tenant_id, epoch, token_hash, worker_id, credential_id, claimed_at, expires_at)
     SELECT $2, 'default', 1, token_hash, worker_id, credential_id, clock_timestamp(), clock_timestamp() + interval '1 hour'
     FROM worker_credentials WHERE worker_id = $1`,
    [workerId, id],
  );
  return () => api.db.query('UPDATE leases SET closed_at = clock_timestamp() WHERE work_id = $1', [id]);
}

test('it polls while it is active, stops while it is not, and tells its version and load', async () => {
  const { worker, ends } = await startWorker('obedient', testEnvironment.temporalAddress);
  await eventually(() => worker.isPolling());
  for (const [move, state] of [
    ['pause', 'paused'],
    ['find_unhealthy', 'unhealthy'],
  ] as const) {
    await order('obedient', move);
    await eventually(() => worker.standing() === state && !worker.isPolling());
    await order('obedient', 'activate');
    await eventually(() => worker.isPolling());
  }
  const [row] = await api.db.query<{ version: string; current_load: number; protocol_version: number }>(
    "SELECT version, current_load, protocol_version FROM workers WHERE worker_id = 'obedient'",
  );
  expect(row).toEqual({ version: '1.2.3', current_load: 0, protocol_version: 1 });
  await order('obedient', 'revoke');
  await eventually(() => ends.length > 0 && !worker.isPolling());
  expect(ends).toMatchObject([{ kind: 'refused' }]);
  expect(worker.standing()).toBe('refused');
  await worker.stop(2_000);
});

test('one that is drained is done when the ledger says that it holds nothing, and works again when it is made active', async () => {
  const { worker, ends } = await startWorker('leaving', testEnvironment.temporalAddress);
  await eventually(() => worker.isPolling());
  const letGo = await holdLease('leaving');
  await order('leaving', 'drain');
  await eventually(() => worker.standing() === 'draining' && !worker.isPolling());
  await order('leaving', 'activate');
  await eventually(() => worker.isPolling());
  await order('leaving', 'drain');
  await eventually(() => worker.standing() === 'draining' && !worker.isPolling());
  expect(ends).toEqual([]);
  await letGo();
  await eventually(() => ends.length > 0);
  expect(ends).toMatchObject([{ kind: 'drained' }]);
  await worker.stop(2_000);
});

test('it starts and stops while Temporal is not there, and tells so', async () => {
  const { worker } = await startWorker('patient', '127.0.0.1:1');
  await eventually(() => worker.standing() === 'active');
  expect(worker.isPolling()).toBe(false);
  await eventually(async () => {
    const [told] = await api.db.query("SELECT last_error_code FROM workers WHERE worker_id = 'patient'");
    expect(told).toEqual({ last_error_code: 'temporal.not_polled' });
  });
  await worker.stop(1_000);
});

/** A `workloadd worker` with its credential in a file. */
async function startProcessOf(workerId: string): Promise<{ worker: TestProcess; credentialFile: string }> {
  const credentialFile = path.join(folder, `${workerId}.credential`);
  writeFileSync(credentialFile, (await credentialOf(workerId)).reveal(), { mode: 0o600 });
  const worker = startWorkloadd(
    [
      ...['worker', '--worker-id', workerId, '--api-url', api.url, '--worker-credential-file', credentialFile],
      ...['--backends', 'node', '--spool-dir', path.join(folder, workerId), '--shutdown-grace', '2s'],
    ],
    { TEMPORAL_ADDRESS: testEnvironment.temporalAddress },
  );
  await worker.output(/polling Temporal/);
  return { worker, credentialFile };
}

test('the exit codes of the process say what a supervisor is to do', async () => {
  const [drained, revoked, unfit] = await Promise.all(['drained', 'revoked', 'unfit'].map(startProcessOf));
  await order('drained', 'pause');
  await drained!.worker.output(/"standing":"paused"/);
  await order('drained', 'resume');
  // A rotated credential is found in its file: the old one is let in no more.
  writeFileSync(revoked!.credentialFile, (await credentialOf('revoked')).reveal());
  await api.db.query(
    `UPDATE worker_credentials SET revoked_at = clock_timestamp() WHERE worker_id = 'revoked'
       AND created_at < (SELECT max(created_at) FROM worker_credentials WHERE worker_id = 'revoked')`,
  );
  const heard = async (): Promise<boolean> =>
    (
      await api.db.query(
        `SELECT 1 FROM workers w JOIN worker_credentials c ON c.credential_id = w.heartbeat_credential_id
         WHERE w.worker_id = 'revoked' AND c.revoked_at IS NULL`,
      )
    ).length === 1;
  await eventually(heard);
  expect(revoked!.worker.isRunning).toBe(true);

  await order('drained', 'drain');
  await order('revoked', 'revoke');
  expect(await drained!.worker.ended).toEqual({ code: 0, signal: null });
  expect(await revoked!.worker.ended).toEqual({ code: 4, signal: null });
  expect(revoked!.worker.stderr).toContain('does not let this worker in');
  await api.db.query('UPDATE pools SET compatibility = $1', [JSON.stringify({ min_protocol: 9 })]);
  expect(await unfit!.worker.ended).toEqual({ code: 5, signal: null });
  expect(unfit!.worker.stderr).toContain('protocol_version is 1 and must be at least 9');
  await api.db.query('UPDATE pools SET compatibility = NULL');
}, 120_000);
