import { claim } from '../../ledger/claims';
import { recordIntent, releaseLease } from '../../ledger/deliveries';
import { eventually } from '../support/eventually';
import { FreshLedger, intentKey, isBlocking, problemOf, race, refusal } from '../support/fresh-ledger';

const ROUNDS = 25;

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
});
afterAll(() => ledger.close());

const times = <T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => make(index)));

const isCode = (answer: unknown): boolean => typeof answer === 'string';

test('of sixteen workers that claim one workload at once, one gets the lease and one the intent', async () => {
  const pool = ledger.unique('pool');
  const workers = await times(16, () => ledger.enrol({ pool }));
  for (let round = 0; round < 5; round += 1) {
    const workId = await ledger.admitted({ pool });
    const answers = await race(workers.map((worker) => () => ledger.claim(worker, workId)));
    const won = answers.flatMap((answer) => (typeof answer === 'string' ? [] : [answer]));
    expect(won).toHaveLength(1);
    expect(answers.filter(isCode)).toEqual(Array.from({ length: 15 }, () => 'lease.held'));
    expect(won[0]!.claim.epoch).toBe(1);
    expect((await ledger.audit(workId, 'lease.claimed')).length).toBe(1);
    await releaseLease(ledger.db, won[0]!.write, 'draining');
  }
});

test('one worker that claims sixteen workloads at once gets as many as it may have open', async () => {
  for (const limit of [1, 3]) {
    const worker = await ledger.enrol({ maxOpenDeliveries: limit });
    const workIds = await times(16, () => ledger.admitted({ pool: worker.poolId }));
    const answers = await race(workIds.map((workId) => () => ledger.claim(worker, workId)));
    const won = answers.flatMap((answer) => (typeof answer === 'string' ? [] : [answer]));
    expect(won).toHaveLength(limit);
    expect(answers.filter(isCode)).toEqual(Array.from({ length: 16 - limit }, () => 'capacity.worker'));

    // A delivery takes the slot its lease took, and gives it back at its end.
    for (const { write } of won) await recordIntent(ledger.db, write, intentKey());
    const waiting = workIds.find((workId) => !won.some(({ write }) => write.workId === workId))!;
    expect(await refusal(ledger.claim(worker, waiting))).toBe('capacity.worker');
    await ledger.report(worker, won[0]!.write.workId, 'completed');
    await ledger.claim(worker, waiting);
  }
});

test('a cancel that meets a claim: nobody can hand over what is cancelled', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 1000 });
  await times(ROUNDS, async () => {
    const workId = await ledger.admitted({ pool: worker.poolId });
    const [claimed] = await race<unknown>([
      () => claim(ledger.db, worker, workId),
      () => ledger.operate(workId, { action: 'cancel' }),
    ]);
    expect(await ledger.workload(workId)).toMatchObject({ state: 'cancelled', delivery: 0, may_still_run: false });
    if (typeof claimed === 'string') {
      expect(claimed).toBe('workload.not_needed');
    } else {
      const { lease_token: leaseToken } = claimed as { lease_token: string };
      expect(await refusal(recordIntent(ledger.db, { principal: worker, workId, leaseToken }, intentKey()))).toBe(
        'lease.stale',
      );
      expect((await ledger.lease(workId))!.closed_at).not.toBeNull();
    }
  });
});

test('a cancel that meets an intent: either it never runs, or it is known that it may', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 1000 });
  const seen = new Set<boolean>();
  const round = async (index: number): Promise<void> => {
    const workId = await ledger.admitted({ pool: worker.poolId });
    const { write } = await ledger.claim(worker, workId);
    const intent = () => recordIntent(ledger.db, write, intentKey());
    const cancel = () => ledger.operate(workId, { action: 'cancel' });
    const answers = await race<unknown>(index % 2 ? [intent, cancel] : [cancel, intent]);
    const granted = !answers.some(isCode);
    const row = await ledger.workload(workId);
    expect(row).toMatchObject({
      state: 'cancelled',
      may_still_run: granted,
      delivery: granted ? 1 : 0,
      reason: granted ? 'cancelled_after_intent' : 'cancelled_before_intent',
    });
    expect((await ledger.deliveries(workId)).length).toBe(granted ? 1 : 0);
    expect((await ledger.lease(workId))!.closed_at).not.toBeNull();
    seen.add(granted);
  };
  // Until both have been first.
  for (let batch = 0; batch < 10 && (batch < 2 || seen.size < 2); batch += 1) await times(ROUNDS, round);
  expect(seen).toEqual(new Set([true, false]));
});

test('an intent that is under way when its lease runs out takes its slot before the worker can claim more', async () => {
  const worker = await ledger.enrol();
  const rule = { pool: worker.poolId, dedupe: { key: ledger.unique('key'), window: 0 } };
  const [workId, other] = [await ledger.admitted(rule), await ledger.admitted({ pool: worker.poolId })];
  const { write, claim: lease } = await ledger.claim(worker, workId, { ttlMs: 1000 });
  const { answers } = await ledger.db.transaction(async (tx) => {
    // Holds the intent up after it has looked at its lease.
    await tx.query('SELECT 1 FROM dedupe_claims WHERE workload_id = $1 FOR UPDATE', [workId]);
    const intent = recordIntent(ledger.db, write, intentKey());
    await eventually(() => isBlocking(tx, `clock_timestamp() > '${lease.expires_at}'`));
    let answered = false;
    const claims = race([() => ledger.claim(worker, other)]).finally(() => (answered = true));
    const waiting = '(SELECT count(*) > 1 FROM pg_locks WHERE NOT granted)';
    await eventually(async () => answered || (await isBlocking(tx, waiting)));
    return { answers: Promise.all([intent, claims]) };
  });
  const [intent, claims] = await answers;
  expect(intent.delivery_number).toBe(1);
  expect(claims).toEqual(['capacity.worker']);
});

test('the slot of a cancelled delivery stays taken until its end or its deadline', async () => {
  const { principal, workId } = await ledger.delivered();
  await ledger.operate(workId, { action: 'cancel' });
  const other = await ledger.admitted({ pool: principal.poolId });
  expect(await problemOf(ledger.claim(principal, other))).toMatchObject({
    code: 'capacity.worker',
    extra: { limit: 1, used: 1 },
  });
  await ledger.report(principal, workId, 'completed');
  await ledger.claim(principal, other);
  expect((await ledger.workload(workId)).state).toBe('cancelled');
});

test('a cancelled delivery that runs keeps its slot to the run deadline, and is known to be over at its end', async () => {
  const { principal, workId } = await ledger.delivered();
  const slotEnd = async (): Promise<number> => (await ledger.deliveries(workId))[0]!.slot_until!.getTime();
  const start = await slotEnd();
  await ledger.operate(workId, { action: 'cancel' });
  expect(await slotEnd()).toBe(start);
  await ledger.report(principal, workId, 'running');
  expect(await slotEnd()).toBeGreaterThan(start);
  expect((await ledger.workload(workId)).may_still_run).toBe(true);
  await ledger.report(principal, workId, 'completed');
  expect(await ledger.workload(workId)).toMatchObject({ state: 'cancelled', may_still_run: false });
});

describe('what a claim is refused with', () => {
  test('another pool, another tenant, an unknown workload', async () => {
    const worker = await ledger.enrol();
    expect(await refusal(ledger.claim(worker, await ledger.admitted()))).toBe('worker.wrong_pool');
    expect(await refusal(ledger.claim(worker, 'wl_nothing'))).toBe('not_found');
    await ledger.db.query("UPDATE pools SET tenants = '{somebody}' WHERE pool_id = $1", [worker.poolId]);
    const workId = await ledger.admitted({ pool: worker.poolId });
    expect(await refusal(ledger.claim(worker, workId))).toBe('worker.wrong_tenant');
  });

  test.each(['pending', 'draining', 'paused', 'unhealthy', 'retired', 'revoked'] as const)(
    'a worker that is %s',
    async (status) => {
      const worker = await ledger.enrol();
      const workId = await ledger.admitted({ pool: worker.poolId });
      await ledger.db.query('UPDATE workers SET status = $2 WHERE worker_id = $1', [worker.workerId, status]);
      expect(await refusal(ledger.claim(worker, workId))).toBe(`worker.${status}`);
    },
  );

  test('a credential that was revoked or ran out since the request began', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    await ledger.db.query('UPDATE worker_credentials SET expires_at = clock_timestamp() WHERE worker_id = $1', [
      worker.workerId,
    ]);
    expect(await refusal(ledger.claim(worker, workId))).toBe('auth.required');
  });

  test('a workload whose deadline has passed, though nothing has settled it yet', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    await ledger.elapse(workId);
    expect(await refusal(ledger.claim(worker, workId))).toBe('workload.not_needed');
  });

  test('a deadline that passes while the claim waits for the lock', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId, deadlines: { queued: 200 } });
    const { deadline_at } = await ledger.workload(workId);
    const answer = await ledger.whileLocked(
      workId,
      () => refusal(ledger.claim(worker, workId)),
      `clock_timestamp() > '${deadline_at!.toISOString()}'`,
    );
    expect(answer).toBe('workload.not_needed');
  });
});
