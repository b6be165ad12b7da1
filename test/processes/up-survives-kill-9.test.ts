import path from 'node:path';
import { eventually } from '../support/eventually';
import { startOpenCrow } from '../support/simulated-opencrow';
import { temporaryFolder } from '../support/temporary-folder';
import { newDataDir, processesOf, startUpProcess, type RunningUp } from '../support/up';

const event = (id: string) => ({ source: 'rss', action: 'triage', event_id: id, data: {} });
const POLICY = `version: 1\ndefault: { decision: ignore, reason: no-rule }\nrules:\n  - { id: all, when: 'true', decision: dispatch }\n`;

async function post(up: RunningUp, id: string): Promise<string> {
  const { status, body } = await up.ask('POST', '/api/events', event(id));
  expect(status).toBe(202);
  return body.workload_id;
}

const stateIs = (up: RunningUp, id: string, state: string) =>
  eventually(
    async () => {
      const { body } = await up.ask('GET', `/api/workloads/${id}`);
      expect(body.state).toBe(state);
    },
    { timeout: 45_000, interval: 100 },
  );

const session = temporaryFolder();

test('what was accepted before kill -9 comes to its end after the next start, and is delivered once', async () => {
  const dataDir = newDataDir();
  const lifecycleSocket = path.join(session, 'lifecycle.sock');
  const args = ['--trigger-pipe', path.join(session, 'trigger.pipe'), '--lifecycle-socket', lifecycleSocket];

  const first = await startUpProcess(dataDir, args);
  expect((await first.ask('PUT', '/api/policy', { source: POLICY })).status).toBeLessThan(300);
  const crow = await startOpenCrow({ sessionDir: session, lifecycleSocket });
  const done = await post(first, 'done');
  await stateIs(first, done, 'completed');
  crow.say('pause');
  const waiting = await post(first, 'waiting');
  const servers = processesOf(dataDir).filter((pid) => pid !== first.process.pid);
  await first.process.kill9();
  expect(processesOf(dataDir)).toEqual(expect.arrayContaining(servers));

  const second = await startUpProcess(dataDir, args);
  expect(second.token).toBe(first.token);
  expect(second.process.stdout).toMatch(/Took over the embedded Postgres/);
  await stateIs(second, done, 'completed');
  crow.say('resume');
  await stateIs(second, waiting, 'completed');
  expect(crow.received().filter((id) => id === waiting)).toHaveLength(1);
  expect(await second.process.terminate()).toEqual({ code: 0, signal: null });
  expect(processesOf(dataDir)).toEqual([]);
}, 180_000);

test('servers that die under it are started again', async () => {
  const dataDir = newDataDir();
  const up = await startUpProcess(dataDir);
  const servers = processesOf(dataDir).filter((pid) => pid !== up.process.pid);
  for (const pid of servers) process.kill(pid, 'SIGKILL');
  await eventually(
    async () => {
      const { status, body } = await up.ask('GET', '/readyz');
      expect({ status, temporal: body.checks.temporal.ok }).toEqual({ status: 200, temporal: true });
    },
    { timeout: 60_000, interval: 200 },
  );
  const end = await up.process.terminate();
  if (end.code !== 0) throw new Error(up.process.stderr);
  expect(processesOf(dataDir)).toEqual([]);
}, 180_000);
