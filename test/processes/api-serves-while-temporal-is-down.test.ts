import { mkdirSync } from 'node:fs';
import { createServer } from 'node:net';
import path from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { PolicyCache } from '../../activities/policy-cache';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { workflowIdOf } from '../../contracts/names';
import { admit } from '../../ledger/admission';
import { Database } from '../../ledger/database';
import { enrolWorker } from '../../ledger/enrol-worker';
import { createToken } from '../../ledger/tokens';
import { startTemporalDevServer, type TemporalDevServer } from '../../workers/temporal-dev-server';
import { eventually } from '../support/eventually';
import { intentKey } from '../support/fresh-ledger';
import { freshSchema, type FreshSchema } from '../support/fresh-schema';
import { policyText } from '../support/policy';
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

/** A worker goes on with what it has, and is shut out, by the api alone. */
async function workIsDone(url: string, headers: Record<string, string>, workId: string): Promise<void> {
  const db = new Database({ connection: schema.connection, maxConnections: 2 });
  const ask = async (bearer: string, path: string, body: object, lease?: string): Promise<Record<string, never>> => {
    const more = { authorization: bearer, ...(lease === undefined ? {} : { 'lease-token': lease }) };
    const init = { method: 'POST', headers: { ...headers, ...more }, body: JSON.stringify(body) };
    const answer = await fetch(`${url}/api/${path}`, init);
    const { status } = answer;
    return { ...((await answer.json()) as object), http: status } as never;
  };
  try {
    await admit(db, new PolicyCache().evaluate, workId);
    const enrolment = { workerId: 'w1', poolId: 'default', maxOpenDeliveries: 1, actor: 'test' };
    const bearer = `Bearer ${(await enrolWorker(db, enrolment)).plaintext.reveal()}`;
    const work = (path: string, body: object, lease?: string) => ask(bearer, `workers/w1/${path}`, body, lease);
    expect(await work('heartbeat', {})).toMatchObject({ http: 200, worker: { duty: 'work' } });
    const { lease_token: lease } = await work('claims', { work_id: workId });
    expect(await work(`leases/${workId}/intent`, { intent_key: intentKey() }, lease)).toMatchObject({ http: 200 });
    expect(await work(`leases/${workId}/renew`, { running: true }, lease)).toMatchObject({ http: 200 });
    const events = [{ event_id: 'e', sequence: 1, type: 'step.done', payload: {} }];
    expect(await work(`work/${workId}/events`, { events }, lease)).toMatchObject({ http: 200 });
    const { plaintext } = await createToken(db, { tenantId: 'default', name: 'operator', scopes: ['operator'] });
    const order = await ask(`Bearer ${plaintext.reveal()}`, 'admin/workers/w1/revoke', { reason: 'test' });
    expect(order).toMatchObject({ http: 200, worker: { status: 'revoked' } });
    expect(await work(`leases/${workId}/renew`, {}, lease)).toMatchObject({ http: 401, code: 'auth.required' });
  } finally {
    await db.close();
  }
}

test('api-serves-while-temporal-is-down, workers too, and tells Temporal when it is there', async () => {
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

  const source = policyText('{ id: all, when: "true", decision: dispatch, to: { executor: managed } }');
  const policy = await fetch(`${url}/api/policy`, { method: 'PUT', headers, body: JSON.stringify({ source }) });
  expect(policy.status).toBe(200);
  const posted = await fetch(`${url}/api/events`, { method: 'POST', headers, body });
  expect(posted.status).toBe(202);
  const { workload_id: id, state } = (await posted.json()) as { workload_id: string; state: string };
  expect(state).toBe('accepted');
  const ready = (await (await fetch(`${url}/readyz`)).json()) as {
    ready: boolean;
    checks: { temporal: { ok: boolean } };
  };
  expect({ ready: ready.ready, temporal: ready.checks.temporal.ok }).toEqual({ ready: true, temporal: false });

  await workIsDone(url, headers, id);

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
