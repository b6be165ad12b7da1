import { createServer, type Server } from 'node:net';
import type { AddressInfo } from 'node:net';
import { inspect } from 'node:util';
import type pg from 'pg';
import { Database, LedgerError } from '../../ledger/database';
import { testEnvironment } from '../support/environment';
import { FreshLedger, problemOf } from '../support/fresh-ledger';

const SECRET = 'hunter2-in-a-value';

let ledger: FreshLedger;
const opened: Database[] = [];
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(async () => {
  await Promise.all(opened.map((db) => db.close()));
  await ledger.close();
});

function database(connection: pg.PoolConfig): Database {
  const db = new Database({ connection, maxConnections: 2 });
  opened.push(db);
  return db;
}

async function errorOf(call: Promise<unknown>): Promise<Error> {
  try {
    await call;
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('the call did not fail');
}

describe('a database error tells its code and its table, never a value', () => {
  test.each([
    ['23505', `INSERT INTO tenants (tenant_id) VALUES ('${SECRET}'), ('${SECRET}')`],
    [
      '23503',
      `INSERT INTO tokens (token_id, tenant_id, name, token_hash, scopes) VALUES ('a', '${SECRET}', 'n', '', '{}')`,
    ],
    ['23514', `UPDATE pools SET status = '${SECRET}'`],
    ['23502', `INSERT INTO events (tenant_id, source) VALUES ('default', '${SECRET}')`],
    ['22P02', `SELECT '${SECRET}'::integer`],
    ['42601', `SELECT '${SECRET}' FROM FROM`],
    ['42703', `SELECT "${SECRET}"`],
  ])('%s', async (code, statement) => {
    const error = await errorOf(ledger.db.query(statement));
    expect(error).toBeInstanceOf(LedgerError);
    expect(error).toMatchObject({ code });
    expect(`${inspect(error, { depth: 10, showHidden: true })} ${JSON.stringify(error)}`).not.toContain(SECRET);
  });

  test('in a transaction too, and what came before it is undone', async () => {
    const workId = await ledger.accept();
    const error = await errorOf(
      ledger.db.transaction(async (tx) => {
        await tx.query("UPDATE workloads SET reason = 'half' WHERE workload_id = $1", [workId]);
        await tx.query('SELECT $1::integer', [SECRET]);
      }),
    );
    expect(inspect(error, { depth: 10 })).not.toContain(SECRET);
    expect((await ledger.workload(workId)).reason).toBe('accepted');
  });
});

describe('a database that cannot answer is ledger.unavailable, with a time to try again', () => {
  const expectUnavailable = async (call: Promise<unknown>): Promise<void> => {
    const problem = await problemOf(call);
    expect(problem).toMatchObject({ code: 'ledger.unavailable', status: 503 });
    expect(problem.retryAfterMs).toBeGreaterThan(0);
    expect(inspect(problem, { depth: 10 })).not.toContain(SECRET);
  };

  /** A server that takes connections and does with them what the test says. */
  async function listening(
    onConnection: Parameters<typeof createServer>[1],
  ): Promise<{ server: Server; port: number }> {
    const server = createServer(onConnection);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { server, port: (server.address() as AddressInfo).port };
  }

  const login = { user: 'nobody', password: SECRET, database: 'none' };

  test('when nothing listens', async () => {
    const { server, port } = await listening(() => undefined);
    await new Promise((resolve) => server.close(resolve));
    const db = database({ host: '127.0.0.1', port, ...login });
    await expectUnavailable(db.query('SELECT 1'));
    await expectUnavailable(db.transaction((tx) => tx.query('SELECT 1')));
    await expectUnavailable(db.dedicated());
    await expectUnavailable(database({ host: '/nowhere', ...login }).query('SELECT 1'));
  });

  test('when it hangs up or says nothing', async () => {
    for (const onConnection of [(socket: { destroy(): void }) => socket.destroy(), () => undefined]) {
      const { server, port } = await listening(onConnection);
      const db = database({ host: '127.0.0.1', port, ...login, connectionTimeoutMillis: 200 });
      await expectUnavailable(db.query('SELECT 1'));
      server.close();
    }
  });

  test('when there is no such database', async () => {
    const url = new URL(testEnvironment.databaseUrl);
    url.pathname = `/${SECRET}`;
    await expectUnavailable(database({ connectionString: url.href }).query('SELECT 1'));
  });

  test('when a statement takes too long', async () => {
    const db = database({ ...ledger.schema.connection, statement_timeout: 50 });
    await expectUnavailable(db.query("SELECT pg_sleep(30), 'hunter2-in-a-value'"));
    await expectUnavailable(db.transaction((tx) => tx.query('SELECT pg_sleep(30)')));
    expect(await db.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });

  test('when all connections are busy for too long', async () => {
    const db = database({ ...ledger.schema.connection, connectionTimeoutMillis: 100 });
    await db.transaction(() => db.transaction(() => expectUnavailable(db.query('SELECT 1'))));
  });

  test('when the connection dies in a transaction: nothing of it stays, and the next one works', async () => {
    const workId = await ledger.accept();
    const db = database(ledger.schema.connection);
    await expectUnavailable(
      db.transaction(async (tx) => {
        await tx.query("UPDATE workloads SET reason = 'half' WHERE workload_id = $1", [workId]);
        const [me] = await tx.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
        await ledger.db.query('SELECT pg_terminate_backend($1, 5000)', [me!.pid]);
        await tx.query('SELECT 1');
      }),
    );
    expect(await db.query('SELECT reason FROM workloads WHERE workload_id = $1', [workId])).toEqual([
      { reason: 'accepted' },
    ]);
  });

  test('an idle connection that dies is told of by its code and costs nothing', async () => {
    const codes: string[] = [];
    const db = new Database({
      connection: ledger.schema.connection,
      maxConnections: 1,
      onConnectionLost: (code) => codes.push(code),
    });
    opened.push(db);
    const [me] = await db.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    await ledger.db.query('SELECT pg_terminate_backend($1, 5000)', [me!.pid]);
    await expect(
      Promise.race([db.query('SELECT 1 AS one'), db.query('SELECT 1 AS one').catch(() => db.query('SELECT 1 AS one'))]),
    ).resolves.toEqual([{ one: 1 }]);
    expect(codes).toEqual(['57P01']);
  });
});

test('a transaction that meets a deadlock is run again and both sides succeed', async () => {
  const [one, two] = [await ledger.accept(), await ledger.accept()];
  const lockBoth = (first: string, second: string, met: () => Promise<void>) =>
    ledger.db.transaction(async (tx) => {
      await tx.query('SELECT 1 FROM workloads WHERE workload_id = $1 FOR UPDATE', [first]);
      await met();
      await tx.query("UPDATE workloads SET reason = reason || '.' WHERE workload_id = $1", [second]);
    });
  let arrived = 0;
  let release: () => void;
  const bothHold = new Promise<void>((resolve) => (release = resolve));
  const met = (): Promise<void> => {
    if ((arrived += 1) >= 2) release();
    return bothHold;
  };
  await Promise.all([lockBoth(one, two, met), lockBoth(two, one, met)]);
  expect(arrived).toBeGreaterThan(2);
  expect((await ledger.workload(one)).reason).toBe('accepted.');
  expect((await ledger.workload(two)).reason).toBe('accepted.');
});
