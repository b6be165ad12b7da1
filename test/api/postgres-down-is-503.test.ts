import net from 'node:net';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { eventually } from '../support/eventually';

/** A door before Postgres that a test can shut. */
class Door {
  private readonly open = new Set<net.Socket>();
  private shut = false;
  private server!: net.Server;
  port = 0;

  async start(target: net.NetConnectOpts): Promise<void> {
    this.server = net.createServer((socket) => {
      if (this.shut) return void socket.destroy();
      const inner = net.connect(target);
      for (const each of [socket, inner]) {
        this.open.add(each);
        each.on('error', () => undefined).on('close', () => this.open.delete(each));
      }
      socket.pipe(inner).pipe(socket);
    });
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.port = (this.server.address() as net.AddressInfo).port;
  }

  close(): void {
    this.shut = true;
    for (const socket of this.open) socket.destroy();
  }

  reopen(): void {
    this.shut = false;
  }

  stop(): void {
    this.close();
    this.server.close();
  }
}

const door = new Door();
let api: TestApi;
beforeAll(async () => {
  const target = new URL(process.env['WORKLOADD_TEST_DATABASE_URL']!);
  const host = target.searchParams.get('host');
  const port = target.port || '5432';
  await door.start(host ? { path: `${host}/.s.PGSQL.${port}` } : { host: target.hostname, port: Number(port) });
  api = await startTestApi({
    connection: ({ connectionString }) => {
      const url = new URL(connectionString);
      url.searchParams.delete('host');
      url.hostname = '127.0.0.1';
      url.port = String(door.port);
      return { connectionString: url.href };
    },
  });
});
afterAll(async () => {
  await api.stop();
  door.stop();
});

const REQUESTS: [string, string, object | undefined][] = [
  ['POST', '/api/events', anEvent('down')],
  ['POST', '/api/events/batch', { events: [anEvent('down'), anEvent('down-2')] }],
  ['GET', '/api/workloads', undefined],
  ['PUT', '/api/policy', { source: '' }],
  ['GET', '/api/whoami', undefined],
];

test('while Postgres is gone every answer is 503 with Retry-After, and nothing is half done', async () => {
  expect((await api.ask('GET', '/api/whoami')).status).toBe(200);
  door.close();
  for (const [method, path, json] of REQUESTS) {
    const answer = await api.ask(method, path, json ? { json } : {});
    expect([path, answer.status, answer.body.code]).toEqual([path, 503, 'ledger.unavailable']);
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  }
  const ready = await eventually(async () => {
    const answer = await api.ask('GET', '/readyz');
    return answer.status === 503 && answer;
  });
  expect(ready.body).toMatchObject({ ready: false, checks: { ledger: { ok: false } } });
  expect((await api.ask('GET', '/livez')).status).toBe(200);
  expect((await api.ask('GET', '/metrics')).text).toContain('workloadd_http_requests_total');
  expect(api.wakes).toEqual([]);
  expect(await api.db.query("SELECT 1 FROM events WHERE event_id LIKE 'down%'")).toEqual([]);

  door.reopen();
  await eventually(async () => (await api.ask('GET', '/readyz')).status === 200);
  expect((await api.ask('POST', '/api/events', { json: anEvent('down') })).body).toMatchObject({ duplicate: false });
});
