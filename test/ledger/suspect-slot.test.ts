import { clearSuspect, trustAgain } from '../../ledger/suspect-slot';
import type { WorkerPrincipal } from '../../ledger/workers';
import { eventually } from '../support/eventually';
import { FreshLedger, isBlocking, problemOf, refusal, type Delivered } from '../support/fresh-ledger';

const MINUTE = 60_000;

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

interface Slot {
  suspect_since: Date | null;
  suspect_probe_at: Date | null;
  backoff: number | null;
}

async function slotOf(worker: WorkerPrincipal): Promise<Slot> {
  const [slot] = await ledger.db.query<Slot>(
    'SELECT suspect_since, suspect_probe_at, suspect_backoff_ms::int AS backoff FROM workers WHERE worker_id = $1',
    [worker.workerId],
  );
  return slot!;
}

/** Loses a delivery of the worker's; a new worker's unless given. */
async function lose(principal?: WorkerPrincipal, backoffMs = MINUTE): Promise<Delivered> {
  const delivered = await ledger.delivered({}, principal ? { principal } : {});
  await ledger.elapse(delivered.workId);
  expect((await ledger.settle(delivered.workId, backoffMs)).state).toBe('lost');
  return delivered;
}

const claimAnother = async (worker: WorkerPrincipal, options = {}) =>
  ledger.claim(worker, await ledger.admitted({ pool: worker.poolId }), options);

const probeDue = (worker: WorkerPrincipal) =>
  ledger.db.query('UPDATE workers SET suspect_probe_at = clock_timestamp() WHERE worker_id = $1', [worker.workerId]);

test('a lost delivery makes its slot suspect, and claims are refused with the time of the next probe', async () => {
  const { principal } = await lose();
  const slot = await slotOf(principal);
  expect(slot).toMatchObject({ suspect_since: expect.any(Date), backoff: MINUTE });
  const problem = await problemOf(claimAnother(principal));
  expect(problem.code).toBe('capacity.suspect');
  expect(problem.retryAfterMs).toBeGreaterThan(0);
  expect(problem.retryAfterMs).toBeLessThanOrEqual(30_000);
});

test('other workers of the pool are not suspect', async () => {
  const { principal } = await lose();
  await claimAnother(await ledger.enrol({ pool: principal.poolId }));
});

test('after the backoff one claim goes through as a probe, and the slot closes again', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 10 });
  await lose(worker, 200);
  expect(await refusal(claimAnother(worker))).toBe('capacity.suspect');
  await eventually(() => claimAnother(worker).catch(() => null));
  expect((await slotOf(worker)).backoff).toBe(400);
  expect(await refusal(claimAnother(worker))).toBe('capacity.suspect');
});

test('of many claims at the moment of the probe, one goes through', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 10 });
  await lose(worker);
  await probeDue(worker);
  const answers = await Promise.allSettled(Array.from({ length: 8 }, () => claimAnother(worker)));
  expect(answers.filter((answer) => answer.status === 'fulfilled')).toHaveLength(1);
});

test('each probe that is lost doubles the wait, up to thirty minutes', async () => {
  const worker = await ledger.enrol();
  const waits: (number | null)[] = [];
  for (let loss = 0; loss < 8; loss += 1) {
    if (loss > 0) await probeDue(worker);
    await lose(worker);
    const slot = await slotOf(worker);
    waits.push(slot.backoff! / MINUTE);
    expect(Math.abs(slot.suspect_probe_at!.getTime() - slot.suspect_since!.getTime() - slot.backoff!)).toBeLessThan(
      100,
    );
  }
  expect(waits).toEqual([1, 2, 4, 8, 16, 30, 30, 30]);
});

test('deliveries that are lost together are one silence', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 3 });
  const open = [await ledger.delivered({}, { principal: worker }), await ledger.delivered({}, { principal: worker })];
  for (const { workId } of open) {
    await ledger.elapse(workId);
    await ledger.settle(workId);
  }
  expect((await slotOf(worker)).backoff).toBe(MINUTE);
});

test('only a delivery that went silent makes its slot suspect', async () => {
  const delivered = await ledger.delivered({ retry: { redeliver_on: ['failed'], max_deliveries: 2 } });
  const { workId, principal } = delivered;
  await ledger.report(principal, workId, 'failed');
  await ledger.elapse(workId);
  expect((await ledger.settle(workId)).state).toBe('lost');
  expect((await slotOf(principal)).suspect_since).toBeNull();
});

describe('the slot is trusted again', () => {
  const at = (time: Date, ms: number): string => new Date(time.getTime() + ms).toISOString();
  const trusted = { suspect_since: null, suspect_probe_at: null, backoff: null };

  test('when its instance shows lifecycle that is newer, not when it is older', async () => {
    const { principal, workId } = await lose();
    const { suspect_since: since } = await slotOf(principal);
    for (const occurred_at of [at(since!, -1), 'yesterday', '']) {
      await ledger.report(principal, workId, 'running', { occurred_at });
      expect((await slotOf(principal)).suspect_since).toEqual(since);
    }
    await ledger.report(principal, workId, 'running', { occurred_at: at(since!, 1) });
    expect(await slotOf(principal)).toEqual(trusted);
    await claimAnother(principal);
  });

  test('not by what another worker, a stranger or a repeated record says', async () => {
    const { principal, workId } = await lose();
    const { suspect_since: since } = await slotOf(principal);
    const later = at(since!, 10_000);
    const neighbour = await ledger.enrol({ pool: principal.poolId });
    await ledger.report(neighbour, workId, 'running', { occurred_at: later });
    await ledger.report(await ledger.enrol(), workId, 'running', { occurred_at: later });
    await ledger.report(principal, workId, 'running', { occurred_at: later, source: 'another' });
    await ledger.report(principal, workId, 'running', { occurred_at: later, number: 2 });
    await ledger.report(principal, workId, 'running', { occurred_at: at(since!, -1), event_id: 'same' });
    await ledger.report(principal, workId, 'running', { occurred_at: later, event_id: 'same' });
    expect((await slotOf(principal)).suspect_since).toEqual(since);
  });

  test('not by lifecycle that is older than a loss that is committed meanwhile', async () => {
    const { principal, workId } = await lose();
    const { suspect_since: since } = await slotOf(principal);
    const { report } = await ledger.db.transaction(async (tx) => {
      await tx.query("UPDATE workers SET suspect_since = suspect_since + interval '1 minute' WHERE worker_id = $1", [
        principal.workerId,
      ]);
      const waiting = ledger.report(principal, workId, 'running', { occurred_at: at(since!, 1) });
      await eventually(() => isBlocking(tx));
      return { report: waiting };
    });
    expect((await report).effect).toBe('recorded');
    expect((await slotOf(principal)).suspect_since).toEqual(new Date(since!.getTime() + MINUTE));
  });

  test('when its worker has seen the executor restart', async () => {
    const { principal } = await lose();
    await claimAnother(principal, { executorRestarted: true });
    expect(await slotOf(principal)).toEqual(trusted);
  });

  test('when an operator says so; there is a record of it, once', async () => {
    const { principal } = await lose();
    expect(await clearSuspect(ledger.db, principal.workerId, 'operator', 'token:1')).toBe(true);
    expect(await clearSuspect(ledger.db, principal.workerId, 'operator', 'token:1')).toBe(false);
    expect(await slotOf(principal)).toEqual(trusted);
    const rows = await ledger.db.query(
      "SELECT actor, detail FROM audit WHERE type = 'worker.suspect_cleared' AND detail->>'worker_id' = $1",
      [principal.workerId],
    );
    expect(rows).toEqual([{ actor: 'token:1', detail: { worker_id: principal.workerId, why: 'operator' } }]);
  });
});

test('an operator gives back the slot of a cancelled workload, and of no other', async () => {
  const { principal, workId } = await ledger.delivered();
  await ledger.report(principal, workId, 'running');
  expect(await trustAgain(ledger.db, principal.workerId, 'idle', 'cli')).toEqual({ cleared: false, freed: 0 });

  await ledger.operate(workId, { action: 'cancel' });
  expect((await problemOf(claimAnother(principal))).code).toBe('capacity.worker');
  expect(await trustAgain(ledger.db, principal.workerId, 'idle', 'cli')).toEqual({ cleared: false, freed: 1 });
  expect(await trustAgain(ledger.db, principal.workerId, 'idle', 'cli')).toEqual({ cleared: false, freed: 0 });
  expect(await ledger.audit(workId, 'delivery.slot_freed')).toMatchObject([
    { actor: 'cli', detail: { delivery: 1, operator_reason: 'idle', worker_id: principal.workerId } },
  ]);
  await claimAnother(principal);
});
