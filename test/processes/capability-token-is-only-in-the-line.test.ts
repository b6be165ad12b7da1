import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Cluster } from '../support/cluster';
import { eventually } from '../support/eventually';
import { when } from '../support/policy';

let cluster: Cluster;
beforeAll(async () => {
  const rule = `decision: dispatch, to: { pool: crows }, capabilities: [
    { hook: context-rss, operations: [show-entry], resources: ['"entry:" + string(event.data.entry_id)'], max_uses: 2 } ]`;
  cluster = await Cluster.prepare({
    rules: [when('all', 'true', rule)],
    script: { default: { behaviour: 'silent' } },
  });
  await cluster.start('api', 'control', 'worker', 'crow');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

interface Line {
  capability_token: string;
  capabilities: object[];
}

/** The files below a folder that hold a text. */
function filesWith(folder: string, text: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .filter((file) => readFileSync(file).includes(text));
}

/** The tables of the ledger that hold a text. */
async function tablesWith(text: string): Promise<string[]> {
  const tables = await cluster.db.query<{ name: string }>(
    `SELECT quote_ident(table_name) AS name FROM information_schema.tables
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`,
  );
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await cluster.db.query(`SELECT 1 FROM ${name} t WHERE t::text LIKE '%' || $1 || '%' LIMIT 1`, [text]);
    if (rows.length > 0) found.push(name);
  }
  return found;
}

test('the token is in the trigger line, opens what it should, and is found nowhere else', async () => {
  const posted = await cluster.post({ ends: ['cancelled'], deliveries: 1 }, { data: { entry_id: 1419 } });
  await cluster.state(posted, 'running');
  const received = cluster.crow.log().find((line) => line.type === 'received')!;
  const line = JSON.parse((received as { line: string }).line.slice('workload.v1 '.length)) as Line;
  expect(line).toMatchObject({
    capability_token: expect.stringMatching(/^owc_[0-9a-f]{16}_[A-Za-z0-9_-]{43}$/),
    capabilities: [{ hook: 'context-rss', operations: ['show-entry'] }],
  });

  const asked = { token: line.capability_token, hook: 'context-rss', operation: 'show-entry', resource: 'entry:1419' };
  const authorize = (more: object = {}) => cluster.ask('POST', '/api/capabilities/authorize', { ...asked, ...more });
  expect(await authorize()).toMatchObject({ status: 200, body: { use: 1, remaining: 1, workload_id: posted.id } });
  expect(await authorize({ resource: 'entry:1' })).toMatchObject({ status: 403 });
  await cluster.ask('POST', `/api/workloads/${posted.id}/cancel`, { reason: 'enough' });
  expect(await authorize()).toMatchObject({ status: 403, body: { reason: 'closed' } });

  const secret = line.capability_token.slice(21);
  const record = JSON.stringify(await cluster.record(posted));
  expect(record).toContain('context-rss');
  expect(record).not.toContain(secret);
  expect(JSON.stringify(await cluster.ask('GET', '/api/workloads'))).not.toContain(secret);
  for (const role of ['api', 'control', 'worker'] as const) {
    const { stdout, stderr } = cluster.process(role);
    expect((stdout + stderr).length).toBeGreaterThan(0);
    expect(stdout + stderr).not.toContain(secret);
  }
  expect(await tablesWith(secret)).toEqual([]);
  await eventually(async () => expect(await cluster.openWorkflows()).toBe(0));
  const history = await cluster.history(posted);
  expect(history).toContain(posted.id);
  expect(history).not.toContain(secret);
  // OpenCrow keeps what it is told; nothing that is the worker's does.
  expect(filesWith(cluster.spoolDir, secret)).toEqual([]);
  const elsewhere = filesWith(cluster.folder, secret).filter((file) => path.basename(file) !== 'log.jsonl');
  expect(elsewhere.filter((file) => !file.includes('inbox'))).toEqual([]);
}, 90_000);
