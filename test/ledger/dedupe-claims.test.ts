import { randomInt } from 'node:crypto';
import { releaseLease } from '../../ledger/deliveries';
import { eventually } from '../support/eventually';
import { FreshLedger, problemOf, type TestRule } from '../support/fresh-ledger';

const HOUR = 3_600_000;

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

/** A rule whose key only this test uses. */
const keyed = (window: number, rule: TestRule = {}): TestRule => ({
  ...rule,
  dedupe: { key: ledger.unique('key'), window },
});

const stateOf = async (workId: string): Promise<string> => (await ledger.workload(workId)).state;

/** Admits one more event by the rule and says what became of it. */
const next = async (rule: TestRule): Promise<string> => stateOf(await ledger.admitted(rule));

describe('a key is taken', () => {
  test('by the first event; the next one is its duplicate and says of which', async () => {
    const rule = keyed(HOUR);
    const first = await ledger.admitted(rule);
    const second = await ledger.admitted(rule);
    expect(await ledger.workload(second)).toMatchObject({ state: 'duplicate', closed: true });
    const [decision] = await ledger.db.query('SELECT * FROM decisions WHERE workload_id = $1', [second]);
    expect(decision).toMatchObject({
      decision: 'duplicate',
      duplicate_of: first,
      reason: 'dedupe_key_held',
      dedupe_key: rule.dedupe!.key,
    });
  });

  test('by exactly one of fifty events admitted at once', async () => {
    const rule = keyed(HOUR);
    const workIds = await Promise.all(Array.from({ length: 50 }, () => ledger.accept()));
    const views = await Promise.all(workIds.map((workId) => ledger.admit(workId, rule)));
    const winners = views.filter((view) => view.state === 'queued');
    expect(winners).toHaveLength(1);
    const named = await ledger.db.query(
      "SELECT DISTINCT duplicate_of FROM decisions WHERE workload_id = ANY($1) AND decision = 'duplicate'",
      [workIds],
    );
    expect(named).toEqual([{ duplicate_of: winners[0]!.workload_id }]);
  });

  test('in its tenant only', async () => {
    const rule = keyed(HOUR);
    await ledger.admitted(rule);
    expect(await stateOf(await ledger.admitted(rule, await ledger.tenant()))).toBe('queued');
  });

  test('whatever characters and length it has', async () => {
    const long = Array.from({ length: 1024 }, () => String.fromCodePoint(randomInt(0x4e00, 0x9fff))).join('');
    const rule: TestRule = { dedupe: { key: long, window: HOUR } };
    await expect(next(rule)).resolves.toBe('queued');
    await expect(next(rule)).resolves.toBe('duplicate');
    await expect(next({ dedupe: { key: `${long.slice(1)}x`, window: HOUR } })).resolves.toBe('queued');
  });

  test('not by an event that is ignored or denied', async () => {
    const rule = keyed(HOUR);
    await ledger.admitted({ ...rule, decision: 'deny' });
    await ledger.admitted({ ...rule, decision: 'ignore' });
    expect(await next(rule)).toBe('queued');
  });

  test('by an event that waits for approval', async () => {
    const rule = keyed(HOUR);
    await ledger.admitted({ ...rule, decision: 'hold' });
    expect(await next(rule)).toBe('duplicate');
  });
});

describe('a key stays taken', () => {
  test('until its window is over, though its workload has ended', async () => {
    const rule = keyed(400);
    const first = await ledger.delivered(rule);
    await ledger.report(first.principal, first.workId, 'completed');
    expect(await next(rule)).toBe('duplicate');
    await eventually(async () => (await next(rule)) === 'queued');
  });

  test('beyond its window while its workload is open', async () => {
    const rule = keyed(0);
    const { principal, workId } = await ledger.delivered(rule);
    expect(await next(rule)).toBe('duplicate');
    await ledger.report(principal, workId, 'running');
    await ledger.report(principal, workId, 'preempted');
    expect(await next(rule)).toBe('duplicate');
    await ledger.report(principal, workId, 'failed');
    expect(await next(rule)).toBe('queued');
  });

  test('while a lost workload can still be corrected', async () => {
    const rule = keyed(0);
    const { workId } = await ledger.delivered(rule);
    await ledger.elapse(workId);
    expect((await ledger.settle(workId)).state).toBe('lost');
    expect(await next(rule)).toBe('duplicate');
    await ledger.elapse(workId);
    expect((await ledger.settle(workId)).next).toBe('end');
    expect(await next(rule)).toBe('queued');
  });

  test('after a cancel that came too late to stop the delivery', async () => {
    const rule = keyed(HOUR);
    const { workId } = await ledger.delivered(rule);
    await ledger.operate(workId, { action: 'cancel' });
    expect(await next(rule)).toBe('duplicate');
  });
});

describe('a key is free again at once', () => {
  test('when approval is denied', async () => {
    const rule = keyed(HOUR);
    const workId = await ledger.admitted({ ...rule, decision: 'hold' });
    await ledger.operate(workId, { action: 'deny' });
    expect(await next(rule)).toBe('queued');
  });

  test('when no worker came in time', async () => {
    const rule = keyed(HOUR);
    const workId = await ledger.admitted(rule);
    await ledger.elapse(workId);
    expect((await ledger.settle(workId)).state).toBe('refused');
    expect(await next(rule)).toBe('queued');
  });

  test('when the workload is cancelled before its intent, given-back deliveries included', async () => {
    const rule = keyed(HOUR);
    const first = await ledger.admitted(rule);
    await ledger.operate(first, { action: 'cancel' });
    const second = await ledger.delivered(rule);
    await releaseLease(ledger.db, second.write, 'ENXIO');
    await ledger.operate(second.workId, { action: 'cancel' });
    expect(await next(rule)).toBe('queued');
  });
});

describe('a redelivery needs the key again', () => {
  test('and is refused while another workload holds it', async () => {
    const rule = keyed(HOUR);
    const first = await ledger.admitted(rule);
    await ledger.operate(first, { action: 'cancel' });
    const second = await ledger.admitted(rule);

    const problem = await problemOf(ledger.operate(first, { action: 'redeliver' }));
    expect(problem).toMatchObject({ code: 'dedupe.held', extra: { held_by: second } });
    expect(await stateOf(first)).toBe('cancelled');

    await ledger.operate(second, { action: 'cancel' });
    await ledger.operate(first, { action: 'redeliver' });
    expect(await next(rule)).toBe('duplicate');
    expect((await problemOf(ledger.operate(second, { action: 'redeliver' }))).code).toBe('dedupe.held');
  });

  test('and the holder ending does not free the key of the one who took it over', async () => {
    const rule = keyed(0);
    const first = await ledger.delivered(rule);
    await ledger.report(first.principal, first.workId, 'failed');
    const second = await ledger.admitted(rule);
    await ledger.report(first.principal, first.workId, 'completed');
    expect(await stateOf(second)).toBe('queued');
    expect(await next(rule)).toBe('duplicate');
  });
});
