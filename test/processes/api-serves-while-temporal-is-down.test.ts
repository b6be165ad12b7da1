import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { workflowIdOf } from '../../contracts/names';
import { startTemporalDevServer, type TemporalDevServer } from '../../workers/temporal-dev-server';
import { eventually } from '../support/eventually';
import { freshSchema, type FreshSchema } from '../support/fresh-schema';
import { startWorkloadd } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

const folder = temporaryFolder();
let schema: FreshSchema;
let temporal: TemporalDevServer | undefined;
beforeAll(async () => (schema = await freshSchema()));
afterAll(async () => {
  await temporal?.stop();
  await schema.drop();
}, 60_000);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test('api-serves-while-temporal-is-down, and tells Temporal when it is there', async () => {
  const port = await freePort();
  const env = { DATABASE_URL: schema.url, TEMPORAL_ADDRESS: `127.0.0.1:${port}` };
  const early = startWorkloadd(['api', '--listen', '127.0.0.1:0'], env);
  expect((await early.ended).code).toBe(1);
  expect(early.stderr).toContain('run `workloadd migrate` first');

  const api = startWorkloadd(['api', '--listen', '127.0.0.1:0', '--auto-migrate'], env);
  const url = (await api.output(/"url":"([^"]+)"/))[1]!;
  const make = startWorkloadd(['token', 'create', '--name', 't', '--scopes', 'admin', '--print'], env);
  await make.ended;
  const headers = { authorization: `Bearer ${make.stdout.trim()}`, 'content-type': 'application/json' };
  const body = JSON.stringify({ source: 'try', action: 'hello', event_id: '1', data: {} });

  const posted = await fetch(`${url}/api/events`, { method: 'POST', headers, body });
  expect(posted.status).toBe(202);
  const { workload_id: id, state } = (await posted.json()) as { workload_id: string; state: string };
  expect(state).toBe('accepted');
  const ready = (await (await fetch(`${url}/readyz`)).json()) as {
    ready: boolean;
    checks: { temporal: { ok: boolean } };
  };
  expect({ ready: ready.ready, temporal: ready.checks.temporal.ok }).toEqual({ ready: true, temporal: false });

  mkdirSync(path.join(folder, 'temporal'));
  temporal = await startTemporalDevServer({
    dataDir: path.join(folder, 'temporal'),
    inMemory: true,
    port,
    searchAttributes: Object.values(SEARCH_ATTRIBUTES),
  });
  const connection = await Connection.connect({ address: temporal.address });
  const { workflow } = new Client({ connection });
  await eventually(async () => (await workflow.getHandle(workflowIdOf(id)).describe()).status.name === 'RUNNING', {
    timeout: 45_000,
  });
  await connection.close();
  expect(await api.terminate()).toEqual({ code: 0, signal: null });
}, 120_000);
