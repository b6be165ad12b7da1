import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { startWorkloadd } from '../support/processes';
import { commandLineOf } from '../../ledger/background-process';
import { newDataDir, processesOf, startUpProcess, type RunningUp } from '../support/up';

const dataDir = newDataDir();
let up: RunningUp;
beforeAll(async () => (up = await startUpProcess(dataDir, ['--policy', 'examples/policy.yaml'])), 120_000);
afterAll(() => up?.process.terminate(), 60_000);

test('admin-token-file-is-0600-and-never-printed', async () => {
  const file = path.join(dataDir, 'admin.token');
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(up.token).toMatch(/^owt_/);
  const { status, body } = await up.ask('GET', '/api/whoami');
  expect({ status, tenant: body.tenant_id }).toEqual({ status: 200, tenant: 'default' });
  const credential = readFileSync(path.join(dataDir, 'worker.credential'), 'utf8').trim();
  expect(statSync(path.join(dataDir, 'worker.credential')).mode & 0o777).toBe(0o600);
  for (const secret of [up.token, credential]) {
    expect(up.process.stdout + up.process.stderr).not.toContain(secret.slice(-20));
  }
  expect(up.process.stdout).toContain(file);
});

test('no secret is among the arguments of a process', () => {
  const password = readFileSync(path.join(dataDir, 'postgres', 'superuser.password'), 'utf8').trim();
  const credential = readFileSync(path.join(dataDir, 'worker.credential'), 'utf8').trim();
  const all = processesOf(dataDir).flatMap((pid) => commandLineOf(pid) ?? []);
  expect(all.length).toBeGreaterThan(10);
  for (const secret of [up.token, password, credential]) expect(all.join(' ')).not.toContain(secret);
});

test('the greeting says what to set in OpenCrow and how to go on', () => {
  expect(up.process.stdout).toContain(`OPENCROW_PI_SESSION_DIR=${path.join(dataDir, 'opencrow')}`);
  expect(up.process.stdout).toMatch(/OPENCROW_WORKLOAD_LIFECYCLE_SOCKET=\S+lifecycle\.sock/);
  expect(up.process.stdout).toMatch(/curl -s -X POST \S+\/api\/events/);
});

test('second-up-is-refused', async () => {
  const second = startWorkloadd(['up', '--data-dir', path.join(dataDir, '..', 'data'), '--listen', '127.0.0.1:0']);
  expect(await second.ended).toEqual({ code: 3, signal: null });
  expect(second.stderr).toContain(`another workloadd (pid ${up.process.pid}) is using ${dataDir}`);
  expect((await up.ask('GET', '/api/whoami')).status).toBe(200);
});

test('operator commands work beside it, by its data dir', async () => {
  const list = startWorkloadd(['workers', 'list', '--data-dir', dataDir], { DATABASE_URL: '' });
  expect(await list.ended).toEqual({ code: 0, signal: null });
  expect(list.stdout).toMatch(/local\s+default\s+active/);
});

test('a taken port is said in one line, and nothing is left behind', async () => {
  const port = new URL(up.apiUrl).port;
  const other = newDataDir();
  const second = startWorkloadd(['up', '--data-dir', other, '--listen', `127.0.0.1:${port}`, '--log-level', 'fatal']);
  expect((await second.ended).code).toBe(1);
  expect(second.stderr.trim()).toMatch(/^error: 127\.0\.0\.1:\d+ is in use: .*$/);
}, 90_000);
