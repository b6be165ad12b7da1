import { releaseLease } from '../../ledger/deliveries';
import { FreshLedger, problemOf, refusal } from '../support/fresh-ledger';
import { quotaSteps } from '../support/quota-steps';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
});
afterAll(() => ledger.close());

const RACERS = 16;
const LIMIT = 5;
const { limited, limitPool, used, anHourLater, earlyInTheMinute, audited, work, claimAll } = quotaSteps(() => ledger);
beforeEach(earlyInTheMinute, 15_000);

describe('room and rates', () => {
  test(`of ${RACERS} units that are claimed at once, exactly the tenant’s limit is held; ends make room`, async () => {
    const tenant = await limited({ concurrent_work: LIMIT });
    const { principal, workers, ids } = await work(tenant, RACERS);
    const outcomes = await claimAll(workers, ids);
    expect(outcomes.filter((each) => each === 'capacity.tenant')).toHaveLength(RACERS - LIMIT);
    expect(await used(tenant, 'concurrent_work')).toBe(LIMIT);
    const denied = ids[outcomes.indexOf('capacity.tenant')]!;
    const problem = await problemOf(ledger.claim(principal, denied));
    expect(problem).toMatchObject({ status: 429, extra: { limit: LIMIT, used: LIMIT } });
    expect((await ledger.workload(denied)).attempts).toBe(0);
    expect(await audited(tenant, 'capacity.denied')).toHaveLength(1);
    const held = outcomes.find((each) => typeof each === 'object')!;
    await releaseLease(ledger.db, held.write, 'test');
    await ledger.claim(principal, denied);
  });

  test('the audit hears that a pool is full; that a worker is, is waiting as usual', async () => {
    const tenant = await ledger.tenant();
    const { principal, workers, ids } = await work(tenant, 2);
    await ledger.claim(principal, ids[0]!);
    await ledger.db.query('UPDATE workers SET max_open_deliveries = 1 WHERE worker_id = $1', [principal.workerId]);
    expect(await refusal(ledger.claim(principal, ids[1]!))).toBe('capacity.worker');
    expect(await audited(tenant, 'capacity.denied')).toEqual([]);
    await ledger.db.query('UPDATE pools SET max_concurrent_work = 1 WHERE pool_id = $1', [principal.poolId]);
    for (const worker of workers) expect(await refusal(ledger.claim(worker, ids[1]!))).toBe('capacity.pool');
    expect(await audited(tenant, 'capacity.denied')).toEqual([
      { code: 'capacity.pool', limit: 1, used: 1, work_id: ids[1] },
    ]);
  });

  test('of claims that race for the last ones of a minute, exactly so many are given', async () => {
    const tenant = await ledger.tenant();
    const { principal, workers, ids } = await work(tenant, RACERS);
    await limitPool(principal.poolId, { claims_per_minute: LIMIT });
    const outcomes = await claimAll(workers, ids);
    expect(outcomes.filter((each) => each === 'quota.exceeded')).toHaveLength(RACERS - LIMIT);
    await ledger.db.query("UPDATE quota_use SET window_at = window_at - interval '1 minute'");
    await ledger.claim(principal, ids[outcomes.indexOf('quota.exceeded')]!);
  });
});

describe('worker minutes', () => {
  test('a repeated claim charges nothing, and its own unit takes no second place', async () => {
    const tenant = await limited({ concurrent_work: 1, worker_minutes_per_hour: 1 });
    const { principal, ids } = await work(tenant, 1);
    const claimKey = ledger.unique('claim-key-of-sixteen-characters');
    for (let i = 0; i < 3; i += 1) await ledger.claim(principal, ids[0]!, { claimKey });
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(1);
    // After a crash it is another attempt; the one before came to nothing.
    await ledger.claim(principal, ids[0]!);
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(1);
    expect(await used(tenant, 'concurrent_work')).toBe(1);
  });

  test('a claim reserves a minute, a lease given back returns it, begun minutes are charged at the end', async () => {
    const tenant = await limited({ worker_minutes_per_hour: 10 });
    const { principal, ids } = await work(tenant, 3);
    const { write } = await ledger.claim(principal, ids[0]!);
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(1);
    await releaseLease(ledger.db, write, 'test');
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(0);

    await ledger.delivered({}, { principal, workId: ids[0]! });
    await held(ids[0]!, 150);
    await ledger.report(principal, ids[0]!, 'completed');
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(3);
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(3);
  });

  test('the minute of a worker that was killed before work began comes back without anybody claiming again', async () => {
    const tenant = await limited({ worker_minutes_per_hour: 1, concurrent_work: 1 });
    const { principal, ids } = await work(tenant, 3);
    await ledger.claim(principal, ids[0]!);
    expect(await refusal(ledger.claim(principal, ids[1]!))).toBe('quota.exceeded');
    await ranOut(ids[0]!);
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(0);
    await ledger.claim(principal, ids[1]!);
    await ledger.operate(ids[1]!, { action: 'cancel' }, tenant);
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(0);
    await ledger.claim(principal, ids[2]!);
    expect(await metered(tenant)).toEqual([ids[2]]);
  });

  test('a lost unit is charged for what its worker held it, and holds no room any more', async () => {
    const tenant = await limited({ worker_minutes_per_hour: 10, concurrent_work: 1 });
    const { principal, ids } = await work(tenant, 2);
    await ledger.delivered({}, { principal, workId: ids[0]! });
    await held(ids[0]!, 150);
    await ranOut(ids[0]!);
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(1);
    await ledger.elapse(ids[0]!);
    expect(await ledger.settle(ids[0]!)).toMatchObject({ state: 'lost' });
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(3);
    expect(await metered(tenant)).toEqual([]);
    const other = await ledger.enrol({ pool: principal.poolId });
    await ledger.claim(other, ids[1]!);
  });

  test('minutes over the limit end no work: it is used up, and the next claim is refused until the next hour', async () => {
    const tenant = await limited({ worker_minutes_per_hour: 2 });
    const { principal, ids } = await work(tenant, 2);
    await ledger.delivered({}, { principal, workId: ids[0]! });
    await held(ids[0]!, 3600);
    expect(await ledger.report(principal, ids[0]!, 'completed')).toMatchObject({ state: 'completed' });
    expect(await refusal(ledger.claim(principal, ids[1]!))).toBe('quota.exceeded');
    expect(await used(tenant, 'worker_minutes_per_hour')).toBe(2);
    await anHourLater();
    await ledger.claim(principal, ids[1]!);
  });

  test('of leases that race for the last minutes exactly so many are given', async () => {
    const tenant = await limited({ worker_minutes_per_hour: LIMIT });
    const { workers, ids } = await work(tenant, RACERS);
    const outcomes = await claimAll(workers, ids);
    expect(outcomes.filter((each) => each === 'quota.exceeded')).toHaveLength(RACERS - LIMIT);
  });

  /** Lets a lease be over for so long that no write under it can be under way. */
  const ranOut = (workId: string): Promise<unknown> =>
    ledger.db.query("UPDATE leases SET expires_at = clock_timestamp() - interval '11 seconds' WHERE work_id = $1", [
      workId,
    ]);
  const metered = async (tenant: string): Promise<string[]> =>
    (
      await ledger.db.query<{ work_id: string }>('SELECT work_id FROM metered_leases WHERE tenant_id = $1', [tenant])
    ).map(({ work_id: id }) => id);

  /** Moves the begin of a lease's counting back. */
  async function held(workId: string, seconds: number): Promise<void> {
    await ledger.db.query(
      "UPDATE metered_leases SET since = since - $2::float8 * interval '1 second' WHERE work_id = $1",
      [workId, seconds],
    );
  }
});
