import http from 'node:http';
import { beginSealPass, sealBatch } from '../../ledger/audit-seal';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { eventually } from '../support/eventually';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

const fill = async (rows: number): Promise<void> => {
  await api.db.query(
    `INSERT INTO audit (tenant_id, type, actor, detail)
     SELECT 'default', 'test.row', 'test', jsonb_build_object('n', n, 'text', repeat('x', 500)) FROM generate_series(1, $1::int) n`,
    [rows],
  );
};
const seal = async (): Promise<void> => {
  const pass = await beginSealPass(api.db);
  while ((await sealBatch(api.db, pass, 5_000)).outcome === 'more');
};
const lines = async (query = ''): Promise<Record<string, never>[]> => {
  const { text } = await api.ask('GET', `/api/audit/export?${query}`);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, never>);
};
const snapshots = async (): Promise<number> =>
  (
    await api.db.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query LIKE '%audit_seals%' AND xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL AND datname = current_database() AND state LIKE 'idle in%'",
    )
  )[0]!.n;

/** Opens an export and reads nothing of it after its head. */
function slowReader(url = api.url): Promise<{ request: http.ClientRequest; response: http.IncomingMessage }> {
  return new Promise((resolve, reject) => {
    const request = http.get(
      `${url}/api/audit/export`,
      { headers: { authorization: `Bearer ${api.token}` }, agent: false },
      (response) => resolve({ request, response }),
    );
    request.on('error', reject);
  });
}

test('it has each row once, sealed ones in the order of the chain, and says how many', async () => {
  await fill(1_200);
  await seal();
  await fill(3);
  const all = await lines();
  const head = all.shift()!['header'];
  const end = all.pop()!['trailer'];
  expect(head).toMatchObject({ chain: 'default', first_position: 1, prev_hash: '0'.repeat(64) });
  expect(all.slice(0, -3).map(({ position }) => position)).toEqual(all.slice(0, -3).map((_, index) => index + 1));
  expect(all.slice(-3).map(({ position, hash }) => [position, hash])).toEqual(Array(3).fill([null, null]));
  const sealed = all.at(-4)!;
  expect(end).toEqual({
    complete: true,
    rows: all.length,
    unsealed: 3,
    last_position: sealed['position'],
    last_hash: sealed['hash'],
  });
});

test('a time is exported with the whole stretch of the chain that holds it', async () => {
  await fill(5);
  await seal();
  const [row] = await api.db.query<{ at: string }>(
    'SELECT to_char(max(at) AT TIME ZONE \'UTC\', \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\') AS at FROM audit',
  );
  const all = await lines(`since=${encodeURIComponent(row!.at)}`);
  expect(all[0]!['header']).toMatchObject({ first_position: all[1]!['position'] });
  expect(all.at(-1)).toMatchObject({ trailer: { rows: 1 } });
  expect((await lines('since=2999-01-01T00:00:00Z')).at(-1)).toMatchObject({
    trailer: { complete: true, rows: 0, last_position: null },
  });
});

test('cells that a spreadsheet would run are made harmless, and the last record tells the end', async () => {
  await api.ask('POST', '/api/events', { json: anEvent('e') });
  for (const actor of ['=1+1', '+1', '-1', '@SUM(A1)', 'a "quoted", one'])
    await api.db.query("INSERT INTO audit (tenant_id, type, actor) VALUES ('default', 'test.row', $1)", [actor]);
  await seal();
  const { text, headers } = await api.ask('GET', '/api/audit/export?format=csv');
  expect(headers.get('content-type')).toContain('text/csv');
  const records = text.split('\r\n');
  expect(records[0]).toBe('position,hash,seq,at,type,actor,workload_id,detail');
  for (const cell of [`"'=1+1"`, `"'+1"`, `"'-1"`, `"'@SUM(A1)"`, '"a ""quoted"", one"'])
    expect(text).toContain(`,${cell},`);
  expect(records.at(-2)).toMatch(/^#end,complete,\d+,\d+,[0-9a-f]{64}$/);
});

/** More than the buffers between here and there take. */
const fillMuch = async (): Promise<void> => {
  await fill(30_000);
  await seal();
};

test('a caller that reads nothing holds back the query, and one that goes away ends it', async () => {
  await fillMuch();
  const before = process.memoryUsage().heapUsed;
  const { request } = await slowReader();
  await eventually(async () => (await snapshots()) === 1);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(60_000_000);
  expect((await api.ask('POST', '/api/events', { json: anEvent('meanwhile') })).status).toBe(202);
  request.destroy();
  await eventually(async () => (await snapshots()) === 0);
});

test('more than three at once are told to come later', async () => {
  const readers = [await slowReader(), await slowReader(), await slowReader()];
  const refused = await api.ask('GET', '/api/audit/export');
  expect(refused).toMatchObject({ status: 429, body: { code: 'capacity.exports' } });
  expect(refused.headers.get('retry-after')).toBe('5');
  for (const { request } of readers) request.destroy();
  await eventually(async () => (await api.ask('HEAD', '/api/audit/export')).status === 200);
});

test('a stop ends an export with a line that says so', async () => {
  const { response } = await slowReader();
  const closing = api.server.close(5_000);
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk as string;
  await closing;
  const end = JSON.parse(text.trimEnd().split('\n').at(-1)!) as Record<string, object>;
  expect(end['trailer']).toMatchObject({ complete: false, reason: 'shutting_down' });
});
