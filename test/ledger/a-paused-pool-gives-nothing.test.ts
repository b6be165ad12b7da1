import { lockHolders } from '../../ledger/claim-facts';
import { updatePool } from '../../ledger/pools';
import { heartbeat } from '../../ledger/worker-heartbeat';
import { eventually } from '../support/eventually';
import { FreshLedger, isBlocking, race, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const setStatus = (pool: string, status: 'active' | 'paused') =>
  updatePool(ledger.db, pool, { status }, { actor: 'test' });

test('a pause waits for the claims that are under way, which do not wait for each other', async () => {
  const pool = ledger.unique('pool');
  const [first, second] = [await ledger.enrol({ pool }), await ledger.enrol({ pool, maxOpenDeliveries: 5 })];
  const pausing = await ledger.db.transaction(async (tx) => {
    await lockHolders(tx, first.workerId);
    await ledger.claim(second, await ledger.admitted({ pool }));
    const paused = setStatus(pool, 'paused');
    paused.catch(() => undefined);
    await eventually(() => isBlocking(tx), { interval: 5 });
    return { paused };
  });
  await pausing.paused;
  const late = await ledger.admitted({ pool });
  expect(await refusal(ledger.claim(second, late))).toBe('pool.not_active');
  await setStatus(pool, 'active');
  await ledger.claim(second, late);
});

test('of claims and a pause at once, those that came through did so before it', async () => {
  for (let round = 0; round < 5; round += 1) {
    const pool = ledger.unique('pool');
    const workers = await Promise.all([1, 2, 3].map(() => ledger.enrol({ pool })));
    const units = await Promise.all(workers.map(() => ledger.admitted({ pool })));
    const claims = workers.map((worker, n) => () => ledger.claim(worker, units[n]!));
    await race<unknown>([...claims.slice(0, 2), () => setStatus(pool, 'paused'), ...claims.slice(2)]);
    const late = await ledger.db.query(
      `SELECT 1 FROM leases l JOIN pools p USING (pool_id) WHERE p.pool_id = $1 AND l.claimed_at > p.updated_at`,
      [pool],
    );
    expect(late).toEqual([]);
  }
});

test('a worker of a paused pool is told to wait, and to work again once it is active', async () => {
  const worker = await ledger.enrol();
  const duty = async () => (await heartbeat(ledger.db, worker, {})).duty;
  expect(await duty()).toBe('work');
  await setStatus(worker.poolId, 'paused');
  expect(await duty()).toBe('wait');
  await setStatus(worker.poolId, 'active');
  expect(await duty()).toBe('work');
});
