import net from 'node:net';
import { anEvent, startTestApi } from '../support/api-server';
import { eventually } from '../support/eventually';

test('a request under way is answered, a new one is not taken, and an idle connection does not hold it up', async () => {
  const api = await startTestApi();
  const idle = net.connect(api.server.port, '127.0.0.1');
  await new Promise((resolve) => idle.once('connect', resolve));
  const blocker = await api.db.dedicated();
  await blocker.query('BEGIN');
  await blocker.query('LOCK TABLE events IN ACCESS EXCLUSIVE MODE');
  const underWay = api.ask('POST', '/api/events', { json: anEvent('under-way') });
  await eventually(async () => {
    const { rows } = await blocker.query(
      `SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'events'::regclass
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    );
    return rows.length > 0;
  });

  const closed = api.server.close(20_000);
  await expect(api.ask('GET', '/livez')).rejects.toThrow();
  await blocker.query('COMMIT');
  blocker.release();
  const answer = await underWay;
  expect(answer.status).toBe(202);
  const answered = Date.now();
  await closed;
  expect(Date.now() - answered).toBeLessThan(5000);
  idle.destroy();
  await api.stop();
});

test('after its deadline it cuts what is left', async () => {
  const api = await startTestApi();
  const slow = net.connect(api.server.port, '127.0.0.1');
  slow.on('error', () => undefined);
  const cut = new Promise((resolve) => slow.once('close', resolve));
  slow.write(
    `POST /api/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${api.token}\r\nContent-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n`,
  );
  await new Promise((resolve) => slow.once('data', resolve));
  const began = Date.now();
  await api.server.close(300);
  await cut;
  expect(Date.now() - began).toBeLessThan(3000);
  await api.stop();
});
