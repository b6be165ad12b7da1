import { TERMINAL_STATUSES } from '../../contracts/terminology';
import { FreshLedger, race, type Delivered, type TestRule } from '../support/fresh-ledger';

const ROUNDS = 24;

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
});
afterAll(() => ledger.close());

/** Plays rounds at once; each on a delivery whose deadline is due, with the calls in both orders. */
async function rounds(
  rule: TestRule,
  calls: (delivered: Delivered) => (() => Promise<unknown>)[],
  check: (delivered: Delivered) => Promise<void>,
): Promise<void> {
  await Promise.all(
    Array.from({ length: ROUNDS }, async (_, index) => {
      const delivered = await ledger.delivered(rule);
      await ledger.elapse(delivered.workId);
      const started = calls(delivered);
      await race(index % 2 ? started : started.reverse());
      await check(delivered);
    }),
  );
}

const states = async (workId: string): Promise<string[]> =>
  (await ledger.audit(workId)).flatMap(({ type }) => (type.startsWith('workload.') ? [type.slice(9)] : []));

test.each(TERMINAL_STATUSES)('the end %s that comes with its deadline is the end, once', async (status) => {
  await rounds(
    {},
    ({ workId, principal }) => [() => ledger.settle(workId), () => ledger.report(principal, workId, status)],
    async ({ workId, principal }) => {
      const path = await states(workId);
      expect([
        ['queued', 'delivered', status],
        ['queued', 'delivered', 'lost', status],
      ]).toContainEqual(path);
      const row = await ledger.workload(workId);
      expect(row).toMatchObject({ state: status, closed: true, corrected: path.includes('lost'), deadline_at: null });
      expect(await ledger.deliveries(workId)).toMatchObject([{ status, slot_until: null, ended_at: expect.any(Date) }]);
      expect((await ledger.lease(workId))!.closed_at).not.toBeNull();

      // Nothing that comes later makes it lost again.
      expect((await ledger.settle(workId)).state).toBe(status);
      await ledger.report(principal, workId, 'completed');
      expect((await ledger.workload(workId)).state).toBe(status);
    },
  );
});

test('with no late window it is either the end or lost, and stays so', async () => {
  await rounds(
    { deadlines: { late: 0 } },
    ({ workId, principal }) => [() => ledger.settle(workId), () => ledger.report(principal, workId, 'completed')],
    async ({ workId, principal }) => {
      const { state } = await ledger.workload(workId);
      expect(['completed', 'lost']).toContain(state);
      expect((await states(workId)).filter((each) => each === 'completed' || each === 'lost')).toEqual([state]);
      await ledger.report(principal, workId, 'failed');
      expect(await ledger.settle(workId)).toMatchObject({ state, next: 'end' });
    },
  );
});

test('a rule that redelivers what is lost does not redeliver what ends at the same moment', async () => {
  await rounds(
    { retry: { redeliver_on: ['lost'], max_deliveries: 2 } },
    ({ workId, principal }) => [() => ledger.settle(workId), () => ledger.report(principal, workId, 'completed')],
    async ({ workId, principal }) => {
      expect(await ledger.workload(workId)).toMatchObject({ state: 'completed', delivery: 1, closed: true });
      const after = await race([() => ledger.claim(principal, workId)]);
      expect(after).toEqual(['workload.not_needed']);
    },
  );
});

test('a deadline, an end and a cancel at once come to one end with one story', async () => {
  await rounds(
    {},
    ({ workId, principal }) => [
      () => ledger.settle(workId),
      () => ledger.operate(workId, { action: 'cancel' }),
      () => ledger.report(principal, workId, 'completed'),
      () => ledger.settle(workId),
    ],
    async ({ workId }) => {
      const path = await states(workId);
      expect(['completed', 'cancelled']).toContain(path.at(-1));
      expect(new Set(path).size).toBe(path.length);
      const row = await ledger.workload(workId);
      expect(row).toMatchObject({ state: path.at(-1), closed: true });
      // The executor has said that it ended, whatever became of the workload.
      expect(await ledger.deliveries(workId)).toMatchObject([{ status: 'completed', slot_until: null }]);
    },
  );
});

test('many settles at once apply a deadline once', async () => {
  const { workId } = await ledger.delivered({ retry: { redeliver_on: ['lost'], max_deliveries: 3 } });
  await ledger.elapse(workId);
  const views = await Promise.all(Array.from({ length: 10 }, () => ledger.settle(workId)));
  expect(new Set(views.map((view) => view.state))).toEqual(new Set(['queued']));
  expect(await states(workId)).toEqual(['queued', 'delivered', 'lost', 'queued']);
});

describe('a late end', () => {
  test('corrects what is lost and says so, to the workflow too', async () => {
    const { workId, principal } = await ledger.delivered();
    await ledger.elapse(workId);
    await ledger.settle(workId);
    const before = await ledger.workload(workId);
    expect(before).toMatchObject({ state: 'lost', closed: false, ended_at: expect.any(Date) });
    const recorded = await ledger.report(principal, workId, 'completed');
    expect(recorded).toMatchObject({ effect: 'corrected', state: 'completed' });
    expect(recorded.wake).toMatchObject({ state: 'completed' });
    expect(await ledger.workload(workId)).toMatchObject({
      state: 'completed',
      corrected: true,
      reason: 'late_correction',
    });
    expect(BigInt((await ledger.workload(workId)).wake_seq)).toBeGreaterThan(BigInt(before.wake_seq));
  });

  test('after the late window is kept as evidence of the delivery and changes nothing', async () => {
    const { workId, principal } = await ledger.delivered();
    await ledger.elapse(workId);
    await ledger.settle(workId);
    await ledger.elapse(workId);
    expect(await ledger.report(principal, workId, 'completed')).toMatchObject({ effect: 'too_late', state: 'lost' });
    expect(await ledger.settle(workId)).toMatchObject({ state: 'lost', next: 'end' });
    expect(await ledger.deliveries(workId)).toMatchObject([{ status: 'completed' }]);
  });
});

describe('what happens to a redelivery does not rewrite how the delivery before it ended', () => {
  const rule: TestRule = { retry: { redeliver_on: ['failed'], max_deliveries: 2 } };
  async function failedOnce(): Promise<Delivered> {
    const delivered = await ledger.delivered(rule);
    await ledger.report(delivered.principal, delivered.workId, 'failed');
    expect(await ledger.workload(delivered.workId)).toMatchObject({ state: 'queued', delivery: 1 });
    return delivered;
  }
  const failed = { number: 1, status: 'failed', ended_at: expect.any(Date) as Date, slot_until: null };

  test('when it is cancelled', async () => {
    const { workId } = await failedOnce();
    await ledger.operate(workId, { action: 'cancel' });
    expect(await ledger.deliveries(workId)).toMatchObject([failed]);
  });

  test('when no worker comes for it', async () => {
    const { workId } = await failedOnce();
    await ledger.elapse(workId);
    expect((await ledger.settle(workId)).state).toBe('lost');
    await ledger.elapse(workId);
    await ledger.settle(workId);
    expect(await ledger.deliveries(workId)).toMatchObject([failed]);
  });

  test('when its attempts are used up', async () => {
    const { workId, principal } = await failedOnce();
    for (let attempt = 0; attempt < 4; attempt += 1) await race([() => ledger.claim(principal, workId)]);
    expect((await ledger.workload(workId)).state).toBe('lost');
    expect(await ledger.deliveries(workId)).toMatchObject([failed]);
  });
});

test('a lost delivery that shows itself while another worker holds the lease takes no slot of that worker', async () => {
  const { workId, principal } = await ledger.delivered({ retry: { redeliver_on: ['lost'], max_deliveries: 2 } });
  await ledger.elapse(workId);
  await ledger.settle(workId);
  const other = await ledger.enrol({ pool: principal.poolId });
  const { write } = await ledger.claim(other, workId);
  expect(await ledger.report(principal, workId, 'running')).toMatchObject({ effect: 'corrected', state: 'running' });
  expect((await ledger.lease(workId))!.closed_at).not.toBeNull();
  await ledger.claim(other, await ledger.admitted({ pool: principal.poolId }));
  expect(await race([() => ledger.claim(other, workId)])).toEqual(['delivery.maybe_written']);
  expect(write.workId).toBe(workId);
});
