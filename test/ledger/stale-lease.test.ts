import { MAX_ATTEMPTS } from '../../domain/workload-state';
import { failLease, recordIntent, releaseLease, reportWrite } from '../../ledger/deliveries';
import type { FencedWrite } from '../../ledger/fenced-write';
import { STALE_WRITES_PER_MINUTE } from '../../ledger/lease';
import { eventually } from '../support/eventually';
import { FreshLedger, intentKey, problemOf, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const WRITES: Record<string, (write: FencedWrite) => Promise<unknown>> = {
  intent: (write) => recordIntent(ledger.db, write, intentKey()),
  complete: (write) => reportWrite(ledger.db, write, { write: 'written' }),
  release: (write) => releaseLease(ledger.db, write, 'draining'),
  fail: (write) => failLease(ledger.db, write, { code: 'trigger_too_large', retryable: false }),
};
const KINDS = Object.keys(WRITES);

/** Everything a write could change; the refusal's own audit row left out. */
async function standing(workId: string): Promise<unknown> {
  const [workload, lease] = [await ledger.workload(workId), await ledger.lease(workId)];
  const audit = (await ledger.audit(workId)).filter((row) => row.type !== 'lease.stale_write_rejected');
  return { ...workload, now: null, lease: { ...lease, now: null }, deliveries: await ledger.deliveries(workId), audit };
}

async function expectStale(kind: string, write: FencedWrite, why: string): Promise<void> {
  const before = await standing(write.workId);
  const known = (await ledger.audit(write.workId, 'lease.stale_write_rejected')).length;
  const problem = await problemOf(WRITES[kind]!(write));
  expect(problem).toMatchObject({ code: 'lease.stale', extra: { staleness: why } });
  expect(problem.message).not.toContain(write.leaseToken);
  expect(await standing(write.workId)).toEqual(before);
  const rows = await ledger.audit(write.workId, 'lease.stale_write_rejected');
  expect(rows).toHaveLength(known + 1);
  const lease = await ledger.lease(write.workId);
  const epoch = lease && Number(lease.epoch);
  expect(rows.at(-1)).toMatchObject({
    actor: `worker:${write.principal.workerId}`,
    detail: { write: kind, why, current_epoch: epoch },
  });
  expect(JSON.stringify(rows.at(-1))).not.toContain(write.leaseToken);
}

test('what one worker is refused again and again is recorded a bounded number of times', async () => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  const write = { principal: worker, workId, leaseToken: 'never-issued' };
  for (let n = 0; n < STALE_WRITES_PER_MINUTE + 3; n += 1) {
    expect(await refusal(releaseLease(ledger.db, write, 'draining'))).toBe('lease.stale');
  }
  expect(await ledger.audit(workId, 'lease.stale_write_rejected')).toHaveLength(STALE_WRITES_PER_MINUTE);
});

describe.each(KINDS)('%s is refused and recorded', (kind) => {
  test('with a token of nobody, and with the token in the hand of another worker', async () => {
    const worker = await ledger.enrol();
    const other = await ledger.enrol({ pool: worker.poolId });
    const workId = await ledger.admitted({ pool: worker.poolId });
    await expectStale(kind, { principal: worker, workId, leaseToken: 'never-issued' }, 'unknown');
    const { write } = await ledger.claim(worker, workId);
    await expectStale(kind, { ...write, leaseToken: 'x'.repeat(43) }, 'mismatch');
    await expectStale(kind, { ...write, principal: other }, 'mismatch');
  });

  test('with the token of an older epoch', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const { write } = await ledger.claim(worker, workId);
    const again = await ledger.claim(worker, workId);
    expect(again.claim.epoch).toBe(2);
    await expectStale(kind, write, 'mismatch');
  });

  test('when the lease ran out, though nobody has taken it', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const { write } = await ledger.claim(worker, workId, { ttlMs: 1 });
    await eventually(async () => {
      const lease = (await ledger.lease(workId))!;
      return lease.expires_at < lease.now;
    });
    await expectStale(kind, write, 'expired');
  });

  test('when the lease was closed before its intent', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const { write } = await ledger.claim(worker, workId);
    await ledger.operate(workId, { action: 'cancel' });
    await expectStale(kind, write, 'closed');
  });
});

test('a lease that another worker took over is of no use to the first one', async () => {
  const first = await ledger.enrol();
  const second = await ledger.enrol({ pool: first.poolId });
  const workId = await ledger.admitted({ pool: first.poolId });
  const { write } = await ledger.claim(first, workId, { ttlMs: 200 });
  expect(await refusal(ledger.claim(second, workId))).toBe('lease.held');
  const taken = await eventually(() => ledger.claim(second, workId).catch(() => null));
  expect(taken.claim.epoch).toBe(2);
  for (const kind of KINDS) await expectStale(kind, write, 'mismatch');
  await recordIntent(ledger.db, taken.write, intentKey());
  for (const kind of KINDS) await expectStale(kind, write, 'mismatch');
});

test('after an intent, what became of the write is heard though the lease has ended; nothing else is', async () => {
  const { write, workId } = await ledger.delivered();
  await ledger.operate(workId, { action: 'cancel' });
  await expectStale('intent', write, 'closed');
  await expectStale('fail', write, 'closed');
  await reportWrite(ledger.db, write, { write: 'written' });
  expect((await ledger.deliveries(workId))[0]).toMatchObject({ write: 'written' });
  expect(await ledger.workload(workId)).toMatchObject({ state: 'cancelled', may_still_run: true });
});

describe('attempts', () => {
  test('a worker that died before its intent claims again at once; each time counts, and the third is the last', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    await ledger.claim(worker, workId);
    for (let failed = 1; failed < MAX_ATTEMPTS; failed += 1) {
      const { claim } = await ledger.claim(worker, workId);
      expect(claim.epoch).toBe(failed + 1);
      expect(await ledger.workload(workId)).toMatchObject({ state: 'queued', attempts: failed });
    }
    const problem = await problemOf(ledger.claim(worker, workId));
    expect(problem).toMatchObject({ code: 'workload.not_needed', extra: { state: 'dead' } });
    const row = await ledger.workload(workId);
    expect(row).toMatchObject({ state: 'dead', reason: 'attempts_exhausted', closed: true });
    expect(BigInt(row.wake_seq)).toBeGreaterThan(1n);
    expect((await ledger.lease(workId))!.closed_at).not.toBeNull();
  });

  test('a claim repeated with its own key, because its answer was lost, counts nothing and gets a new token', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const claimKey = intentKey();
    const { write: unheard } = await ledger.claim(worker, workId, { claimKey });
    for (let repeat = 0; repeat < MAX_ATTEMPTS + 1; repeat += 1) await ledger.claim(worker, workId, { claimKey });
    expect(await ledger.workload(workId)).toMatchObject({ state: 'queued', attempts: 0 });
    await expectStale('intent', unheard, 'mismatch');
    await ledger.claim(worker, workId, { claimKey: intentKey() });
    expect(await ledger.workload(workId)).toMatchObject({ attempts: 1 });
  });

  test('a failure that the worker reports counts once, also when another one claims after it', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const { write } = await ledger.claim(worker, workId);
    expect(await failLease(ledger.db, write, { code: 'pipe_broken', retryable: true })).toMatchObject({
      state: 'queued',
    });
    const again = await ledger.claim(worker, workId);
    expect(await ledger.workload(workId)).toMatchObject({ attempts: 1 });
    await failLease(ledger.db, again.write, { code: 'pipe_broken', retryable: true });
    const third = await ledger.claim(worker, workId);
    expect(await failLease(ledger.db, third.write, { code: 'pipe_broken', retryable: true })).toMatchObject({
      state: 'dead',
      wait_ms: null,
    });
  });

  test('a workload given back before its intent costs no attempt', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    for (let round = 0; round < MAX_ATTEMPTS + 2; round += 1) {
      const { write } = await ledger.claim(worker, workId);
      await releaseLease(ledger.db, write, 'draining');
    }
    expect(await ledger.workload(workId)).toMatchObject({ state: 'queued', attempts: 0 });
  });

  test('what cannot be handed over at all is refused', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const { write } = await ledger.claim(worker, workId);
    await failLease(ledger.db, write, { code: 'trigger_too_large', retryable: false });
    expect(await ledger.workload(workId)).toMatchObject({
      state: 'refused',
      reason: 'trigger_too_large',
      closed: true,
    });
  });
});
