import { DEFAULT_DEADLINES } from '../../contracts/deadlines';
import type { IntentGranted } from '../../contracts/worker-protocol';
import { recordIntent, releaseLease, reportWrite } from '../../ledger/deliveries';
import { findingsOf } from '../support/audit';
import { FreshLedger, intentKey, problemOf, race, refusal, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

async function claimed() {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  return { worker, workId, ...(await ledger.claim(worker, workId)) };
}

async function elapsed(workId: string): Promise<void> {
  await ledger.elapse(workId);
  await ledger.settle(workId);
}

test('one key is one intent with one answer, however often and at once it is sent', async () => {
  const { write, workId, claim } = await claimed();
  const key = intentKey();
  const answers = await Promise.all(Array.from({ length: 10 }, () => recordIntent(ledger.db, write, key)));
  const [{ expires_at }] = answers as [IntentGranted];
  for (const { ttl_ms, ...answer } of answers) {
    expect(answer).toEqual({ delivery_number: claim.delivery_number, delivery_id: claim.delivery_id, expires_at });
    expect(ttl_ms).toBeGreaterThan(0);
    expect(ttl_ms).toBeLessThanOrEqual(DEFAULT_DEADLINES.start);
  }
  expect(await ledger.deliveries(workId)).toHaveLength(1);
  expect(await ledger.audit(workId, 'workload.delivered')).toHaveLength(1);
});

test('of two keys under one lease one is granted', async () => {
  const { write, workId } = await claimed();
  const answers = await race(Array.from({ length: 8 }, () => () => recordIntent(ledger.db, write, intentKey())));
  expect(answers.filter((answer) => answer === 'delivery.maybe_written')).toHaveLength(7);
  expect(await ledger.deliveries(workId)).toHaveLength(1);
});

test('the lease lives to the start deadline, and each sign of life of the executor moves it on', async () => {
  const { workId, principal, intent } = await ledger.delivered();
  const deadline = async () => (await ledger.workload(workId)).deadline_at!.toISOString();
  const expiry = async () => (await ledger.lease(workId))!.expires_at.toISOString();
  expect(intent.expires_at).toBe(await deadline());
  expect(await expiry()).toBe(await deadline());
  for (const status of ['running', 'preempted', 'running'] as const) {
    const before = await expiry();
    await ledger.report(principal, workId, status);
    expect(await expiry()).toBe(await deadline());
    expect(await expiry()).not.toBe(before);
  }
});

test('after an intent nobody can claim, its own worker included', async () => {
  const { workId, principal } = await ledger.delivered();
  const other = await ledger.enrol({ pool: principal.poolId });
  const expectTaken = async (state: string): Promise<void> => {
    for (const worker of [principal, other]) {
      expect(await problemOf(ledger.claim(worker, workId))).toMatchObject({
        code: 'delivery.maybe_written',
        extra: { state },
      });
    }
  };
  await expectTaken('delivered');
  await ledger.report(principal, workId, 'running');
  await expectTaken('running');
  await ledger.report(principal, workId, 'preempted');
  await expectTaken('preempted');
  await ledger.report(principal, workId, 'completed');
  expect(await refusal(ledger.claim(other, workId))).toBe('workload.not_needed');
});

test('after the deadline of its offer there is no intent, though nothing has settled it yet', async () => {
  const { write, workId } = await claimed();
  await ledger.elapse(workId);
  expect(await refusal(recordIntent(ledger.db, write, intentKey()))).toBe('workload.not_needed');
  expect(await ledger.deliveries(workId)).toEqual([]);
});

test('the key is of no use once the write is reported or the executor has it', async () => {
  const one = await claimed();
  const key = intentKey();
  await recordIntent(ledger.db, one.write, key);
  await reportWrite(ledger.db, one.write, { write: 'unknown' });
  expect(await refusal(recordIntent(ledger.db, one.write, key))).toBe('delivery.maybe_written');

  const two = await claimed();
  await recordIntent(ledger.db, two.write, key);
  await ledger.report(two.worker, two.workId, 'running');
  expect(await refusal(recordIntent(ledger.db, two.write, key))).toBe('delivery.maybe_written');
});

describe('a proven non-delivery', () => {
  test('gives number, slot and attempt back; the next intent gets the same number', async () => {
    const first = await ledger.delivered();
    expect(await releaseLease(ledger.db, first.write, 'ENXIO')).toMatchObject({ state: 'queued' });
    expect(await ledger.workload(first.workId)).toMatchObject({ state: 'queued', delivery: 0, attempts: 0 });
    expect((await ledger.lease(first.workId))!.closed_at).not.toBeNull();

    const other = await ledger.enrol({ pool: first.principal.poolId });
    const second = await ledger.delivered({}, { principal: other, workId: first.workId });
    expect(second.intent).toMatchObject({ delivery_number: 1, delivery_id: first.workId });
    expect(await ledger.deliveries(first.workId)).toMatchObject([
      { number: 1, write: 'intended', worker_id: other.workerId, status: 'delivered' },
    ]);
    // The first worker has its slot back.
    await ledger.claim(first.principal, await ledger.admitted({ pool: first.principal.poolId }));
  });

  test('is told again by a worker that did not hear the answer, and changes nothing more', async () => {
    const { write, workId } = await ledger.delivered();
    await releaseLease(ledger.db, write, 'ENXIO');
    const before = await ledger.workload(workId);
    expect(await releaseLease(ledger.db, write, 'ENXIO')).toMatchObject({ state: 'queued' });
    expect({ ...(await ledger.workload(workId)), now: null }).toEqual({ ...before, now: null });
    expect(await ledger.audit(workId, 'lease.released')).toHaveLength(1);
  });

  test('is not believed of a write that was reported', async () => {
    for (const write of ['written', 'unknown'] as const) {
      const delivered = await ledger.delivered();
      await reportWrite(ledger.db, delivered.write, { write });
      expect(await refusal(releaseLease(ledger.db, delivered.write, 'ENXIO'))).toBe('workload.state_conflict');
      expect(await ledger.workload(delivered.workId)).toMatchObject({ state: 'delivered', delivery: 1 });
    }
  });

  test.each(['running', 'preempted', 'completed'] as const)(
    'is not believed of a delivery that its executor says is %s',
    async (status) => {
      const { write, workId, principal } = await ledger.delivered();
      await ledger.report(principal, workId, status);
      expect(await refusal(releaseLease(ledger.db, write, 'ENXIO'))).toBe('workload.state_conflict');
      expect(await ledger.deliveries(workId)).toMatchObject([{ write: 'intended', status }]);
      await ledger.report(principal, workId, 'completed');
      expect((await ledger.workload(workId)).state).toBe('completed');
    },
  );

  test('is not believed of a lost delivery that its executor was heard of before it went silent', async () => {
    const { write, workId, principal } = await ledger.delivered();
    await ledger.report(principal, workId, 'running');
    await ledger.elapse(workId);
    await ledger.settle(workId);
    expect(await refusal(releaseLease(ledger.db, write, 'ENXIO'))).toBe('workload.state_conflict');
    expect(await ledger.deliveries(workId)).toMatchObject([{ write: 'intended', status: 'lost' }]);
  });

  test('is believed though another pool pretends that the delivery runs', async () => {
    const { write, workId } = await ledger.delivered();
    await ledger.report(await ledger.enrol(), workId, 'running');
    expect(await releaseLease(ledger.db, write, 'ENXIO')).toMatchObject({ state: 'queued' });
  });

  test('of a cancelled workload proves that it never ran', async () => {
    const { write, workId, principal } = await ledger.delivered();
    await ledger.operate(workId, { action: 'cancel' });
    expect((await ledger.workload(workId)).may_still_run).toBe(true);
    await releaseLease(ledger.db, write, 'ENXIO');
    expect(await ledger.workload(workId)).toMatchObject({ state: 'cancelled', may_still_run: false });
    await ledger.claim(principal, await ledger.admitted({ pool: principal.poolId }));
  });

  const again: TestRule = { retry: { redeliver_on: ['lost'], max_deliveries: 3 } };
  const PASSED_BY: Record<string, { rule?: TestRule; by: (workId: string) => Promise<unknown>; next: string }> = {
    'was cancelled': { by: (workId) => ledger.operate(workId, { action: 'cancel' }), next: 'cancelled' },
    'was lost': { by: elapsed, next: 'lost' },
    'was queued again': { rule: again, by: elapsed, next: 'queued' },
  };
  test.each(Object.keys(PASSED_BY))('gives the number back also after the workload %s', async (what) => {
    const { rule, by, next } = PASSED_BY[what]!;
    const { write, workId, principal: first } = await ledger.delivered(rule);
    const principal = await ledger.enrol({ pool: first.poolId });
    await by(workId);
    const { wake_seq: told } = await ledger.workload(workId);
    expect(await releaseLease(ledger.db, write, 'ENXIO')).toMatchObject({ state: next });
    const row = await ledger.workload(workId);
    expect(row).toMatchObject({ state: next, delivery: 0 });
    // An ended workflow has nothing to hear; another offers a delivery of this number.
    expect(BigInt(row.wake_seq) > BigInt(told)).toBe(!row.closed);

    if (next !== 'queued') await ledger.operate(workId, { action: 'redeliver' });
    const second = await ledger.delivered({}, { principal, workId });
    expect(second.intent.delivery_number).toBe(1);
    await releaseLease(ledger.db, second.write, 'ENXIO');
    expect((await findingsOf(ledger.db)).filter(({ workload_id }) => workload_id === workId)).toEqual([]);
    // Nothing was ever handed over, so that it is no delivery that is lost.
    await elapsed(workId);
    expect(await ledger.workload(workId)).toMatchObject({ state: 'refused', delivery: 0 });
  });

  test('frees the key of what was cancelled: nothing can have been done for it', async () => {
    const rule = { dedupe: { key: ledger.unique('key'), window: 60_000 } };
    const { write, workId } = await ledger.delivered(rule);
    await ledger.operate(workId, { action: 'cancel' });
    expect((await ledger.workload(await ledger.admitted(rule))).state).toBe('duplicate');
    await releaseLease(ledger.db, write, 'ENXIO');
    expect((await ledger.workload(await ledger.admitted(rule))).state).toBe('queued');
  });

  test('of a cancelled redelivery does not prove that the lost one before it is over', async () => {
    const { workId, principal: first } = await ledger.delivered(again);
    const principal = await ledger.enrol({ pool: first.poolId });
    await elapsed(workId);
    const { write } = await ledger.delivered({}, { principal, workId });
    await ledger.operate(workId, { action: 'cancel' });
    await releaseLease(ledger.db, write, 'ENXIO');
    expect(await ledger.workload(workId)).toMatchObject({ state: 'cancelled', delivery: 1, may_still_run: true });
  });
});

test('a report of the write is taken once; what comes later changes nothing', async () => {
  const { write, workId } = await ledger.delivered();
  await reportWrite(ledger.db, write, { write: 'unknown', detail: 'EIO' });
  await reportWrite(ledger.db, write, { write: 'written' });
  expect(await ledger.deliveries(workId)).toMatchObject([{ write: 'unknown' }]);
  expect(await ledger.audit(workId, 'delivery.maybe_written')).toHaveLength(1);
  expect(await ledger.audit(workId, 'delivery.written')).toHaveLength(0);
});

test('a give-back that comes late wakes the workflow, since the offer may have ended as delivered', async () => {
  const wakeSeq = async (workId: string): Promise<string> => (await ledger.workload(workId)).wake_seq;
  const prompt = await ledger.delivered();
  const before = await wakeSeq(prompt.workId);
  await releaseLease(ledger.db, prompt.write, 'EAGAIN');
  expect(await wakeSeq(prompt.workId)).toBe(before);

  const late = await ledger.delivered();
  await ledger.db.query("UPDATE deliveries SET intent_at = intent_at - interval '1 minute' WHERE workload_id = $1", [
    late.workId,
  ]);
  await releaseLease(ledger.db, late.write, 'EAGAIN');
  expect(await ledger.workload(late.workId)).toMatchObject({ state: 'queued', delivery: 0 });
  expect(BigInt(await wakeSeq(late.workId))).toBeGreaterThan(BigInt(before));
});

test.each([
  ['paused', 'worker.paused'],
  ['pending', 'worker.pending'],
  ['revoked', 'auth.required'],
])('a worker that is %s begins nothing; what it gives back costs no attempt', async (status, code) => {
  const { worker, workId, write } = await claimed();
  await ledger.db.query('UPDATE workers SET status = $2 WHERE worker_id = $1', [worker.workerId, status]);
  expect(await refusal(recordIntent(ledger.db, write, intentKey()))).toBe(code);
  expect(await ledger.deliveries(workId)).toEqual([]);
  await releaseLease(ledger.db, write, 'intent_refused');
  expect(await ledger.workload(workId)).toMatchObject({ state: 'queued', attempts: 0 });
});
