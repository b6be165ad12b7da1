import path from 'node:path';
import { eventually } from '../support/eventually';
import { testEnvironment } from '../support/environment';
import { freshNamespace, type FreshNamespace } from '../support/fresh-namespace';
import { freshSchema, type FreshSchema } from '../support/fresh-schema';
import { startWorkloadd, type TestProcess } from '../support/processes';
import { startOpenCrow } from '../support/simulated-opencrow';
import { temporaryFolder } from '../support/temporary-folder';

const folder = temporaryFolder();
const POLICY = `version: 1\ndefault: { decision: ignore, reason: no-rule }\nrules:\n  - { id: all, when: 'true', decision: dispatch, to: { pool: crows } }\n`;
let schema: FreshSchema;
let namespace: FreshNamespace;
beforeAll(async () => {
  schema = await freshSchema();
  namespace = await freshNamespace();
});
afterAll(async () => {
  await namespace.close();
  await schema.drop();
});

async function command(args: string[], env: NodeJS.ProcessEnv): Promise<string> {
  const process = startWorkloadd(args, env);
  const { code } = await process.ended;
  if (code !== 0) throw new Error(process.stderr);
  return process.stdout.trim();
}

test('api, control and worker run apart; the worker has no database, outlives Temporal and api, and drains', async () => {
  const temporal = { TEMPORAL_ADDRESS: testEnvironment.temporalAddress, TEMPORAL_NAMESPACE: namespace.name };
  const ledger = { ...temporal, DATABASE_URL: schema.url };
  const noLedger = { ...temporal, DATABASE_URL: '', WORKLOADD_TEST_DATABASE_URL: '' };
  const credential = path.join(folder, 'credential');
  await command(['migrate'], ledger);
  await command(['worker', 'enroll', '--worker-id', 'crow', '--pool', 'crows', '--out', credential], ledger);
  const token = await command(['token', 'create', '--name', 't', '--scopes', 'admin', '--print'], ledger);

  const api = startWorkloadd(['api', '--listen', '127.0.0.1:0'], ledger);
  const url = (await api.output(/"url":"([^"]+)"/))[1]!;
  const lifecycleSocket = path.join(folder, 'lifecycle.sock');
  const workerArgs = [
    ...['worker', '--pool', 'crows', '--worker-id', 'crow', '--worker-credential-file', credential, '--api-url', url],
    ...['--trigger-pipe', path.join(folder, 'trigger.pipe'), '--lifecycle-socket', lifecycleSocket],
    ...['--spool-dir', path.join(folder, 'spool')],
  ];
  const worker = startWorkloadd(workerArgs, noLedger);
  const controls = [1, 2].map(() => startWorkloadd(['control'], ledger));
  const crow = await startOpenCrow({ sessionDir: folder, lifecycleSocket });

  const headers = { authorization: `Bearer ${token}` };
  const json = { ...headers, 'content-type': 'application/json' };
  const put = await fetch(`${url}/api/policy`, {
    method: 'PUT',
    headers: json,
    body: JSON.stringify({ source: POLICY }),
  });
  expect(put.status).toBe(200);
  const ids: string[] = [];
  for (const eventId of ['1', '2', '3']) {
    const body = JSON.stringify({ source: 'try', action: 'hello', event_id: eventId, data: {} });
    const posted = await fetch(`${url}/api/events`, { method: 'POST', headers: json, body });
    ids.push(((await posted.json()) as { workload_id: string }).workload_id);
  }
  for (const id of ids) {
    await eventually(
      async () => {
        const record = (await (await fetch(`${url}/api/workloads/${id}`, { headers })).json()) as { state: string };
        expect(record.state).toBe('completed');
      },
      { timeout: 45_000, interval: 100 },
    );
  }
  expect(crow.received().sort()).toEqual([...ids].sort());

  const stopped = (process: TestProcess) => process.terminate();
  expect(await stopped(worker)).toEqual({ code: 0, signal: null });
  for (const control of controls) expect(await stopped(control)).toEqual({ code: 0, signal: null });
  expect(await stopped(api)).toEqual({ code: 0, signal: null });
}, 120_000);

test('a worker that was started for another pool says so and ends', async () => {
  const env = { TEMPORAL_ADDRESS: testEnvironment.temporalAddress, DATABASE_URL: schema.url };
  const other = path.join(folder, 'other-credential');
  await command(['worker', 'enroll', '--worker-id', 'stray', '--pool', 'crows', '--out', other], env);
  const api = startWorkloadd(['api', '--listen', '127.0.0.1:0'], env);
  const url = (await api.output(/"url":"([^"]+)"/))[1]!;
  const worker = startWorkloadd(
    [
      ...['worker', '--pool', 'elsewhere', '--worker-id', 'stray', '--worker-credential-file', other, '--api-url', url],
      ...['--trigger-pipe', path.join(folder, 'trigger.pipe'), '--lifecycle-socket', path.join(folder, 's.sock')],
      ...['--spool-dir', path.join(folder, 'stray')],
    ],
    env,
  );
  expect(await worker.ended).toEqual({ code: 1, signal: null });
  expect(worker.stderr).toContain('belongs to pool crows, not to elsewhere');
  expect(await api.terminate()).toEqual({ code: 0, signal: null });
}, 60_000);
