import type { SourceEvent } from '../../contracts/events';
import { acceptEvent } from '../../ledger/accept';
import { acceptBatch, acceptTogether } from '../../ledger/accept-batch';
import { notingDenials } from '../../ledger/denials';
import { releaseLease } from '../../ledger/deliveries';
import { quotasOf, setEntitlement, pruneQuotas } from '../../ledger/quotas';
import { queues } from '../../ledger/queue-depths';
import { replayWithin } from '../../ledger/replays';
import { FreshLedger, problemOf, race, refusal } from '../support/fresh-ledger';
import { quotaSteps, why } from '../support/quota-steps';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
});
afterAll(() => ledger.close());

const RACERS = 16;
const LIMIT = 5;
const { limited, limit, limitPool, used, anHourLater, earlyInTheMinute, audited } = quotaSteps(() => ledger);
beforeEach(earlyInTheMinute, 15_000);

const anEvent = (eventId = ledger.unique('event')): SourceEvent => ({
  source: 'rss',
  action: 'triage',
  event_id: eventId,
  data: {},
});

describe('new events', () => {
  for (const quota of ['events_per_minute', 'events_per_hour', 'queued_work'] as const) {
    test(`of ${RACERS} that race for ${quota}, exactly the limit is taken, and nothing of the others is stored`, async () => {
      const tenant = await limited({ [quota]: LIMIT });
      const outcomes = await race(
        Array.from({ length: RACERS }, () => () => acceptEvent(ledger.db, tenant, anEvent(), 'test')),
      );
      expect(outcomes.filter((each) => each === 'quota.exceeded')).toHaveLength(RACERS - LIMIT);
      const [stored] = await ledger.db.query<{ events: number; workloads: number; notes: number }>(
        `SELECT (SELECT count(*)::int FROM events WHERE tenant_id = $1) AS events,
           (SELECT count(*)::int FROM workloads WHERE tenant_id = $1) AS workloads,
           (SELECT count(*)::int FROM audit WHERE tenant_id = $1 AND type = 'event.accepted') AS notes`,
        [tenant],
      );
      expect(stored).toEqual({ events: LIMIT, workloads: LIMIT, notes: LIMIT });
      expect(await used(tenant, quota)).toBe(LIMIT);
    });
  }

  test('a repeat of a known event charges nothing and is answered whatever the limits say', async () => {
    const tenant = await limited({ events_per_minute: 1 });
    const event = anEvent();
    const outcomes = await race(
      Array.from({ length: RACERS }, () => () => acceptEvent(ledger.db, tenant, event, 'test')),
    );
    expect(outcomes.map((each) => typeof each === 'object' && each.duplicate).filter((each) => !each)).toHaveLength(1);
    expect(await used(tenant, 'events_per_minute')).toBe(1);
    await setEntitlement(ledger.db, tenant, 'lapsed', why);
    expect(await acceptEvent(ledger.db, tenant, event, 'test')).toMatchObject({ duplicate: true });
    expect(await refusal(acceptEvent(ledger.db, tenant, { ...event, data: { other: 1 } }, 'test'))).toBe(
      'event.conflict',
    );
  });

  test('a refusal says which limit, how it stands and when the window ends; the next window is empty', async () => {
    const tenant = await limited({ events_per_hour: 1 });
    await acceptEvent(ledger.db, tenant, anEvent(), 'test');
    const problem = await problemOf(acceptEvent(ledger.db, tenant, anEvent(), 'test'));
    expect(problem).toMatchObject({
      code: 'quota.exceeded',
      status: 429,
      extra: { scope: 'tenant', quota: 'events_per_hour', limit: 1, used: 1 },
    });
    const resetAt = new Date(problem.extra!.reset_at as string).getTime();
    expect(resetAt % 3_600_000).toBe(0);
    expect(Math.abs(resetAt - Date.now() - problem.retryAfterMs!)).toBeLessThan(5_000);
    await anHourLater();
    await acceptEvent(ledger.db, tenant, anEvent(), 'test');
  });

  test('a limit of nothing takes nothing, and one that is taken away limits nothing', async () => {
    const tenant = await limited({ events_per_minute: 0, queued_work: 0 });
    expect(await refusal(acceptEvent(ledger.db, tenant, anEvent(), 'test'))).toBe('quota.exceeded');
    await limit(tenant, {});
    await acceptEvent(ledger.db, tenant, anEvent(), 'test');
  });

  test('in a batch each event is judged on its own; one that is taken as a whole is refused as a whole', async () => {
    const tenant = await limited({ events_per_minute: 2 });
    const known = anEvent();
    await acceptEvent(ledger.db, tenant, known, 'test');
    const outcome = await ledger.db.transaction((tx) =>
      acceptBatch(tx, tenant, [known, anEvent('a'), anEvent('b'), anEvent('c')], 'test'),
    );
    expect(outcome.map((each) => (each instanceof Error ? each.code : each?.duplicate))).toEqual([
      true,
      false,
      'quota.exceeded',
      'quota.exceeded',
    ]);
    await limit(tenant, { events_per_minute: 3 });
    const together = notingDenials(ledger.db, { tenantId: tenant, actor: 'test' }, () =>
      ledger.db.transaction((tx) => acceptTogether(tx, tenant, [anEvent('d'), anEvent('e')], 'test')),
    );
    const problem = await problemOf(together);
    expect(problem).toMatchObject({ code: 'quota.exceeded', extra: { limit: 3, used: 3 } });
    expect(problem.retryAfterMs).toBeGreaterThan(1000);
    expect(await used(tenant, 'events_per_minute')).toBe(2);
  });

  test('while the oldest waits too long nothing new is taken; what ended or is under way waits no more', async () => {
    const tenant = await limited({ queue_age: 60 });
    const oldest = await ledger.accept({}, tenant);
    await ledger.accept({}, tenant);
    await ledger.db.query(
      "UPDATE workloads SET waiting_since = waiting_since - interval '90 seconds' WHERE workload_id = $1",
      [oldest],
    );
    const problem = await problemOf(ledger.accept({}, tenant));
    expect(problem.extra).toMatchObject({ quota: 'queue_age', limit: 60, used: 91, reset_at: null });
    await ledger.operate(oldest, { action: 'cancel' }, tenant);
    await ledger.accept({}, tenant);
  });

  test('what one tenant uses is none of another’s, nor is the limit', async () => {
    const [tenant, other, free] = [
      await limited({ events_per_minute: 1 }),
      await limited({ events_per_minute: 1 }),
      await ledger.tenant(),
    ];
    await ledger.accept({}, tenant);
    expect(await refusal(ledger.accept({}, tenant))).toBe('quota.exceeded');
    await ledger.accept({}, other);
    for (let i = 0; i < 3; i += 1) await ledger.accept({}, free);
  });

  test('what an operator replays is counted and not refused', async () => {
    const tenant = await limited({ events_per_minute: 1, queued_work: 1, dispatches_per_hour: 1 });
    const workloadId = await ledger.accept({}, tenant);
    await ledger.operate(workloadId, { action: 'cancel' }, tenant);
    const order = { tenantId: tenant, workloadId, ...why, bypassDedupe: false };
    const replays = [1, 2].map(() => ledger.db.transaction((tx) => replayWithin(tx, order)));
    for (const { workloadId: id } of await Promise.all(replays)) {
      expect(await ledger.admit(id)).toMatchObject({ state: 'queued' });
    }
    expect(await used(tenant, 'events_per_minute')).toBe(3);
    expect(await used(tenant, 'dispatches_per_hour')).toBe(2);
  });
});

describe('admission', () => {
  test('of what races for the last places of a pool, exactly so much is queued; the rest is refused and says why', async () => {
    const { poolId } = await ledger.enrol();
    await limitPool(poolId, { queued_work: LIMIT });
    const tenant = await ledger.tenant();
    const ids = await Promise.all(Array.from({ length: RACERS }, () => ledger.accept({}, tenant)));
    const views = await Promise.all(ids.map((id) => ledger.admit(id, { pool: poolId })));
    expect(views.filter(({ state }) => state === 'queued')).toHaveLength(LIMIT);
    const refused = views.filter(({ state }) => state === 'refused');
    expect(refused).toHaveLength(RACERS - LIMIT);
    const { reason, closed } = await ledger.workload(refused[0]!.workload_id);
    expect({ reason, closed }).toEqual({ reason: 'quota_queue_depth', closed: true });
    expect(await ledger.audit(refused[0]!.workload_id, 'workload.refused')).toMatchObject([
      { detail: { quota: 'queued_work', scope: 'pool', limit: LIMIT, used: LIMIT } },
    ]);
    expect(await audited(tenant, 'quota.denied')).toMatchObject([{ code: 'quota.exceeded', quota: 'queued_work' }]);
  });

  test('of what races for the dispatches of an hour exactly so many are dispatched', async () => {
    const tenant = await limited({ dispatches_per_hour: LIMIT });
    const ids = await Promise.all(Array.from({ length: RACERS }, () => ledger.accept({}, tenant)));
    const views = await Promise.all(ids.map((id) => ledger.admit(id)));
    expect(views.filter(({ state }) => state === 'queued')).toHaveLength(LIMIT);
    const { reason } = await ledger.workload(views.find(({ state }) => state === 'refused')!.workload_id);
    expect(reason).toBe('quota_dispatches');
    await anHourLater();
    expect(await ledger.admit(await ledger.accept({}, tenant))).toMatchObject({ state: 'queued' });
  });

  test('a pool whose oldest work waits too long gets no more; given back work waits since before', async () => {
    const principal = await ledger.enrol();
    await limitPool(principal.poolId, { queue_age: 60 });
    const oldest = await ledger.admitted({ pool: principal.poolId });
    await ledger.db.query(
      "UPDATE workloads SET waiting_since = waiting_since - interval '90 seconds' WHERE workload_id = $1",
      [oldest],
    );
    const refused = await ledger.admitted({ pool: principal.poolId });
    expect(await ledger.workload(refused)).toMatchObject({ state: 'refused', reason: 'quota_queue_age' });
    const { write } = await ledger.delivered({}, { principal, workId: oldest });
    expect(await ledger.workload(await ledger.admitted({ pool: principal.poolId }))).toMatchObject({ state: 'queued' });
    await releaseLease(ledger.db, write, 'pipe_full');
    expect(await ledger.workload(await ledger.admitted({ pool: principal.poolId }))).toMatchObject({
      reason: 'quota_queue_age',
    });
  });

  test('what is refused leaves no place in a lane and no key taken, and what policy ignores is not charged', async () => {
    const tenant = await limited({ dispatches_per_hour: 1 });
    const rule = { dedupe: { key: 'k', window: 60_000, on_duplicate: 'queue' as const } };
    await ledger.admitted({ decision: 'ignore' }, tenant);
    const first = await ledger.admitted({}, tenant);
    expect(await ledger.workload(first)).toMatchObject({ state: 'queued' });
    const refused = await ledger.admitted(rule, tenant);
    expect(await ledger.workload(refused)).toMatchObject({ state: 'refused', closed: true, waiting_for: null });
    expect(await places(refused)).toEqual([]);
    await limit(tenant, {});
    expect(await ledger.workload(await ledger.admitted(rule, tenant))).toMatchObject({
      state: 'queued',
      waiting_for: null,
    });
  });

  test('what is refused waits for its turn like others when an operator has it handed over after all', async () => {
    const tenant = await limited({ dispatches_per_hour: 1 });
    const rule = { dedupe: { key: 'k', window: 60_000, on_duplicate: 'queue' as const } };
    await ledger.admitted(rule, tenant);
    const refused = await ledger.admitted(rule, tenant);
    expect(await ledger.workload(refused)).toMatchObject({ state: 'refused', reason: 'quota_dispatches' });
    expect(await ledger.operate(refused, { action: 'redeliver' }, tenant)).toMatchObject({
      state: 'queued',
      waiting_for: 'key',
    });
    expect(await places(refused)).toEqual([{ gate: 'key', state: 'waiting' }]);
  });

  test('limits are those of the pool that the work is sent to by what it requires', async () => {
    const flag = ledger.unique('flag');
    const able = async (): Promise<string> => {
      const { poolId } = await ledger.enrol();
      await ledger.db.query('UPDATE pools SET capabilities = $2 WHERE pool_id = $1', [poolId, { flags: [flag] }]);
      return poolId;
    };
    const first = await able();
    await limitPool(first, { queued_work: 1 });
    const send = async () => ledger.workload(await ledger.admitted({ pool: null, requires: { flags: [flag] } }));
    expect(await send()).toMatchObject({ state: 'queued', pool_id: first });
    expect(await send()).toMatchObject({ state: 'refused', reason: 'quota_queue_depth', pool_id: first });
    const second = await able();
    expect(await send()).toMatchObject({ state: 'queued', pool_id: second });
  });

  const places = (workId: string): Promise<object[]> =>
    ledger.db.query('SELECT gate, state FROM lane_places WHERE workload_id = $1', [workId]);
});

describe('an entitlement that has lapsed', () => {
  test('begins nothing new, and stops nothing that was begun', async () => {
    const tenant = await ledger.tenant();
    const principal = await ledger.enrol({ maxOpenDeliveries: 10 });
    const begun = await ledger.admitted({ pool: principal.poolId }, tenant);
    const waiting = await ledger.admitted({ pool: principal.poolId }, tenant);
    await ledger.delivered({}, { principal, workId: begun });
    await setEntitlement(ledger.db, tenant, 'lapsed', why);
    await setEntitlement(ledger.db, tenant, 'lapsed', why);

    expect(await problemOf(ledger.accept({}, tenant))).toMatchObject({ code: 'entitlement.lapsed', status: 402 });
    expect(await refusal(ledger.claim(principal, waiting))).toBe('entitlement.lapsed');
    expect((await ledger.workload(waiting)).attempts).toBe(0);
    expect(await ledger.report(principal, begun, 'completed')).toMatchObject({ state: 'completed' });
    expect(
      await refusal(
        ledger.db.transaction((tx) =>
          replayWithin(tx, { tenantId: tenant, workloadId: begun, ...why, bypassDedupe: false }),
        ),
      ),
    ).toBe('entitlement.lapsed');
    expect(await audited(tenant, 'entitlement.denied')).toHaveLength(1);
    expect(await audited(tenant, 'tenant.entitlement_set')).toEqual([
      { entitlement: 'lapsed', previous: 'active', operator_reason: 'because' },
    ]);

    await setEntitlement(ledger.db, tenant, 'active', why);
    await ledger.claim(principal, waiting);
    await ledger.operate(waiting, { action: 'cancel' }, tenant);
    await ledger.accept({}, tenant);
  });
});

test('the audit hears of refusals once a minute for each tenant and code', async () => {
  const tenant = await limited({ events_per_hour: 0 });
  await race(Array.from({ length: RACERS }, () => () => ledger.accept({}, tenant)));
  expect(await audited(tenant, 'quota.denied')).toMatchObject([
    { code: 'quota.exceeded', quota: 'events_per_hour', limit: 0, used: 0 },
  ]);
  await ledger.db.query("UPDATE quota_denials SET noted_at = noted_at - interval '61 seconds' WHERE tenant_id = $1", [
    tenant,
  ]);
  await race(Array.from({ length: 4 }, () => () => ledger.accept({}, tenant)));
  expect(await audited(tenant, 'quota.denied')).toHaveLength(2);
});

test('who sets what limits is in the audit, once, and old windows are forgotten', async () => {
  const tenant = await limited({ events_per_minute: 5 });
  await limit(tenant, { events_per_minute: 5 });
  await limit(tenant, { queue_age: 60 });
  expect(await audited(tenant, 'quota.set')).toMatchObject([
    { limits: { events_per_minute: 5 }, previous: {} },
    { limits: { queue_age: 60 }, previous: { events_per_minute: 5 }, operator_reason: 'because' },
  ]);
  await limit(tenant, { events_per_minute: 5 });
  await ledger.accept({}, tenant);
  await ledger.db.query("UPDATE quota_use SET window_at = window_at - interval '2 days' WHERE scope_id = $1", [tenant]);
  expect(await pruneQuotas(ledger.db, 1000)).toBeGreaterThan(0);
  expect(await ledger.db.query('SELECT 1 FROM quota_use WHERE scope_id = $1', [tenant])).toEqual([]);
});

test('what waits is counted exactly, for each tenant and pool', async () => {
  const tenant = await ledger.tenant();
  const principal = await ledger.enrol();
  const queued = await ledger.admitted({ pool: principal.poolId }, tenant);
  await ledger.accept({}, tenant);
  await ledger.admitted({ pool: principal.poolId, decision: 'hold' }, tenant);
  await ledger.db.query(
    "UPDATE workloads SET waiting_since = waiting_since - interval '1 hour' WHERE workload_id = $1",
    [queued],
  );
  const of = (all: Awaited<ReturnType<typeof queues>>, id: string) => all.find((each) => each.id === id);
  const all = await queues(ledger.db);
  expect(of(all, tenant)).toMatchObject({ scope: 'tenant', work: 2 });
  expect(of(all, principal.poolId)).toMatchObject({ scope: 'pool', work: 1 });
  expect(of(all, principal.poolId)!.oldestSeconds).toBeGreaterThan(3599);
  const { queue } = await quotasOf(ledger.db, { scope: 'pool', id: principal.poolId });
  expect(queue.work).toBe(1);
});

test('a tenant that nobody limits has its events accepted by one statement', async () => {
  const tenant = await ledger.tenant();
  let statements = 0;
  const counting = {
    query: <Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]> => {
      statements += 1;
      return ledger.db.query<Row>(text, values);
    },
  };
  await acceptEvent(counting, tenant, anEvent(), 'test');
  expect(statements).toBe(1);
});
