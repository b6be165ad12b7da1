import fc from 'fast-check';
import { WORKER_STATES, type WorkerState } from '../../contracts/terminology';
import type { WorkerMove } from '../../domain/worker-moves';
import { orderWorker } from '../../ledger/worker-orders';
import { FreshLedger, problemOf, race } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const MOVES: WorkerMove[] = ['activate', 'pause', 'resume', 'drain', 'retire', 'revoke', 'find_unhealthy', 'recover'];

/** Where each move leads from each state; where nothing is said it is forbidden. */
const LEADS: Record<WorkerState, Partial<Record<WorkerMove, WorkerState>>> = {
  pending: { activate: 'active', revoke: 'revoked' },
  active: {
    activate: 'active',
    resume: 'active',
    drain: 'draining',
    pause: 'paused',
    find_unhealthy: 'unhealthy',
    retire: 'retired',
    revoke: 'revoked',
  },
  draining: {
    activate: 'active',
    resume: 'active',
    drain: 'draining',
    retire: 'retired',
    revoke: 'revoked',
    find_unhealthy: 'unhealthy',
  },
  paused: { activate: 'active', resume: 'active', pause: 'paused', retire: 'retired', revoke: 'revoked' },
  unhealthy: {
    activate: 'active',
    resume: 'active',
    recover: 'active',
    drain: 'draining',
    retire: 'retired',
    revoke: 'revoked',
    find_unhealthy: 'unhealthy',
  },
  retired: { retire: 'retired' },
  revoked: { revoke: 'revoked' },
};

const order = (workerId: string, move: WorkerMove, more: { force?: boolean; owner?: string } = {}) =>
  ledger.db.transaction((tx) => orderWorker(tx, workerId, move, { actor: 'admin', reason: 'because', ...more }));

async function workerIn(status: WorkerState): Promise<string> {
  const { workerId } = await ledger.enrol({ pool: 'one' });
  await ledger.db.query('UPDATE workers SET status = $2 WHERE worker_id = $1', [workerId, status]);
  return workerId;
}

const statusOf = async (workerId: string): Promise<WorkerState> => {
  const rows = await ledger.db.query<{ status: WorkerState }>('SELECT status FROM workers WHERE worker_id = $1', [
    workerId,
  ]);
  return rows[0]!.status;
};

const told = (workerId: string) =>
  ledger.db.query<{ type: string; detail: Record<string, unknown> }>(
    `SELECT type, detail FROM audit WHERE detail->>'worker_id' = $1 AND actor = 'admin' ORDER BY seq`,
    [workerId],
  );

describe.each(WORKER_STATES)('a worker that is %s', (from) => {
  test.each(MOVES)('%s', async (move) => {
    const workerId = await workerIn(from);
    const to = LEADS[from][move];
    if (to === undefined) {
      expect(await problemOf(order(workerId, move))).toMatchObject({
        code: 'worker.state_conflict',
        extra: { state: from },
      });
      expect([await statusOf(workerId), await told(workerId)]).toEqual([from, []]);
      return;
    }
    expect(await order(workerId, move)).toEqual({ status: to, previous: from, changed: to !== from });
    expect(await statusOf(workerId)).toBe(to);
    const row = {
      type: `worker.${to}`,
      detail: { worker_id: workerId, pool_id: 'one', status: to, previous: from, reason: 'because' },
    };
    expect(await told(workerId)).toEqual(to === from ? [] : [row]);
  });
});

test('whatever is ordered in whatever order, the audit tells the way and its end is the state', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...MOVES), { maxLength: 12 }), async (moves) => {
      const workerId = await workerIn('pending');
      let state: WorkerState = 'pending';
      const way: string[] = [];
      for (const move of moves) {
        const to: WorkerState | undefined = LEADS[state][move];
        const [answer] = await race([() => order(workerId, move)]);
        expect(typeof answer === 'string' ? undefined : answer!.status).toBe(to);
        if (to === undefined || to === state) continue;
        way.push(`worker.${to}`);
        state = to;
      }
      expect(await statusOf(workerId)).toBe(state);
      expect((await told(workerId)).map(({ type }) => type)).toEqual(way);
    }),
    { numRuns: 25 },
  );
});

test('a revoked worker is not resurrected by those who race against its revocation', async () => {
  const rivals: WorkerMove[] = ['activate', 'pause', 'resume', 'drain', 'retire', 'activate', 'resume'];
  for (let round = 0; round < 10; round += 1) {
    const workerId = await workerIn('active');
    const answers = await race((['revoke', ...rivals] as const).map((move) => () => order(workerId, move)));
    const end = await statusOf(workerId);
    // Who retired it first has made it final in the other way.
    expect(end).toBe(answers[0] === 'worker.state_conflict' ? 'retired' : 'revoked');
    const types = (await told(workerId)).map(({ type }) => type);
    expect(types.filter((type) => type === 'worker.revoked' || type === 'worker.retired')).toEqual([`worker.${end}`]);
    expect(types.at(-1)).toBe(`worker.${end}`);
  }
});

test('a worker that holds a lease is retired only by force', async () => {
  const { principal, workId } = await ledger.delivered();
  expect(await problemOf(order(principal.workerId, 'retire'))).toMatchObject({
    code: 'worker.holds_leases',
    extra: { leases: 1 },
  });
  expect(await statusOf(principal.workerId)).toBe('active');
  expect((await order(principal.workerId, 'retire', { force: true })).status).toBe('retired');
  expect((await ledger.lease(workId))!.closed_at).toBeNull();
});

test("another tenant's worker is not there", async () => {
  const workerId = await workerIn('active');
  const nobodys = await problemOf(order('nobody', 'revoke'));
  expect(await problemOf(order(workerId, 'revoke', { owner: 'default' }))).toMatchObject({
    code: 'not_found',
    message: nobodys.message,
  });
  expect(await statusOf(workerId)).toBe('active');
});
