import { workloadRecordOf } from '../../ledger/queries';
import { claim } from '../../ledger/claims';
import { dueLanes, pumpLane } from '../../ledger/pump';
import { replayWithin } from '../../ledger/replays';
import type { OnDuplicate } from '../../contracts/flow-control';
import { FreshLedger, problemOf, type Delivered, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const keyed = (on_duplicate: OnDuplicate, rule: TestRule = {}): TestRule => ({
  ...rule,
  dedupe: { key: ledger.unique('key'), on_duplicate },
});

/** State, and the gate it waits at, of each workload. */
const standings = (...ids: string[]): Promise<string[]> =>
  Promise.all(
    ids.map(async (id) => {
      const { state, waiting_for } = await ledger.workload(id);
      return waiting_for === null ? state : `${state} for ${waiting_for}`;
    }),
  );

/** Hands over a queued workload. */
const start = (workId: string, pool = 'default'): Promise<Delivered> =>
  ledger.enrol({ pool }).then((principal) => ledger.delivered({}, { workId, principal }));

async function finish({ principal, workId, intent }: Delivered): Promise<void> {
  await ledger.report(principal, workId, 'completed', { number: intent.delivery_number });
  await ledger.pump();
}

const absorbedBy = async (workId: string): Promise<string[]> =>
  (
    await ledger.db.query<{ text: string }>(
      "SELECT workload_id || ' ' || how AS text FROM absorbed WHERE absorbed_by = $1 ORDER BY at",
      [workId],
    )
  ).map(({ text }) => text);

describe('queue', () => {
  test('one at a time, in the order of admission', async () => {
    const rule = keyed('queue');
    const [a, b, c] = [await ledger.admitted(rule), await ledger.admitted(rule), await ledger.admitted(rule)];
    expect(await standings(a, b, c)).toEqual(['queued', 'queued for key', 'queued for key']);
    expect(await ledger.settle(b)).toMatchObject({ next: 'wait', reason: 'waiting_for_key', laned: true });
    const first = await start(a);
    await ledger.pump();
    expect(await standings(a, b, c)).toEqual(['delivered', 'queued for key', 'queued for key']);
    await finish(first);
    expect(await standings(a, b, c)).toEqual(['completed', 'queued', 'queued for key']);
    expect(await ledger.settle(b)).toMatchObject({ next: 'offer', reason: 'turn_came' });
    await finish(await start(b));
    await finish(await start(c));
    expect(await standings(a, b, c)).toEqual(['completed', 'completed', 'completed']);
  });

  test('a stale offer cannot hand over what waits for its turn', async () => {
    const rule = keyed('queue');
    const [a, b] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    const worker = await ledger.enrol({ pool: 'default' });
    expect((await problemOf(claim(ledger.db, worker, b))).code).toBe('workload.not_needed');
    await ledger.operate(a, { action: 'cancel' });
    await ledger.pump();
    expect((await claim(ledger.db, worker, b)).work_id).toBe(b);
  });

  test('a lost one keeps the key for its late window, and resolve frees it', async () => {
    const rule = keyed('queue');
    const [a, b] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    await start(a);
    await ledger.elapse(a);
    await ledger.settle(a);
    await ledger.pump();
    expect(await standings(a, b)).toEqual(['lost', 'queued for key']);
    await ledger.operate(a, { action: 'resolve', outcome: 'failed' });
    await ledger.pump();
    expect(await standings(a, b)).toEqual(['failed', 'queued']);
  });

  test('who is refused in line, or cancelled, leaves it', async () => {
    const rule = keyed('queue');
    const [a, b, c, d] = [
      await ledger.admitted(rule),
      await ledger.admitted(rule),
      await ledger.admitted(rule),
      await ledger.admitted(rule),
    ];
    await ledger.elapse(b);
    expect((await ledger.settle(b)).reason).toBe('total_deadline');
    await ledger.operate(c, { action: 'cancel' });
    await finish(await start(a));
    expect(await standings(a, b, c, d)).toEqual(['completed', 'refused', 'cancelled', 'queued']);
  });

  test('a redelivery comes into line again, at its end', async () => {
    const rule = keyed('queue');
    const [a, b, c] = [await ledger.admitted(rule), await ledger.admitted(rule), await ledger.admitted(rule)];
    await ledger.operate(a, { action: 'cancel' });
    await ledger.operate(a, { action: 'redeliver' });
    await ledger.pump();
    expect(await standings(a, b, c)).toEqual(['queued for key', 'queued', 'queued for key']);
    await finish(await start(b));
    await finish(await start(c));
    expect(await standings(a, b, c)).toEqual(['queued', 'completed', 'completed']);
  });

  test('several that are handed over again all come into line', async () => {
    const rule = keyed('queue');
    const [a, b] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    for (const id of [a, b]) await ledger.operate(id, { action: 'cancel' });
    for (const id of [a, b]) await ledger.operate(id, { action: 'redeliver' });
    await ledger.pump();
    expect(await standings(a, b)).toEqual(['queued', 'queued for key']);
  });

  test('in a line longer than one look, nobody is looked at for nothing', async () => {
    const rule = keyed('queue');
    const ids = await Promise.all(Array.from({ length: 105 }, () => ledger.accept()));
    for (const id of ids) await ledger.admit(id, rule);
    for (const lane of await dueLanes(ledger.db, 0)) await pumpLane(ledger.db, lane);
    expect(await dueLanes(ledger.db, 0)).toEqual([]);
    expect(await standings(ids[0]!, ids.at(-1)!)).toEqual(['queued', 'queued for key']);
  }, 30_000);

  test('a lost one that an operator hands over again keeps its turn', async () => {
    const rule = keyed('queue');
    const [a, b] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    await start(a);
    await ledger.elapse(a);
    await ledger.settle(a);
    await ledger.operate(a, { action: 'redeliver' });
    await ledger.pump();
    expect(await standings(a, b)).toEqual(['queued', 'queued for key']);
  });

  test('who waits for approval does not hold up the others, and keeps its place', async () => {
    const rule = keyed('queue');
    const a = await ledger.admitted(rule);
    const held = await ledger.admitted({ ...rule, decision: 'hold' });
    const c = await ledger.admitted(rule);
    await ledger.pump();
    await finish(await start(a));
    expect(await standings(a, held, c)).toEqual(['completed', 'held for key', 'queued']);
    const d = await ledger.admitted(rule);
    await ledger.operate(held, { action: 'approve' });
    await ledger.pump();
    expect(await standings(held, c, d)).toEqual(['queued for key', 'queued', 'queued for key']);
    await finish(await start(c));
    expect(await standings(held, c, d)).toEqual(['queued', 'completed', 'queued for key']);
  });

  test('an approval with nobody in line is offered at once', async () => {
    const held = await ledger.admitted({ ...keyed('queue'), decision: 'hold' });
    await ledger.operate(held, { action: 'approve' });
    await ledger.pump();
    expect(await standings(held)).toEqual(['queued']);
  });
});

describe('supersede', () => {
  test('the newest runs, whoever waits or runs is cancelled and listed under it', async () => {
    const rule = keyed('supersede');
    const a = await ledger.admitted(rule);
    await start(a);
    const [b, c] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    expect(await standings(a, b, c)).toEqual(['delivered', 'queued for key', 'queued for key']);
    await ledger.pump();
    expect(await standings(a, b, c)).toEqual(['cancelled', 'cancelled', 'queued']);
    expect(await ledger.workload(a)).toMatchObject({ reason: 'superseded', may_still_run: true });
    expect(await ledger.workload(b)).toMatchObject({ reason: 'superseded', may_still_run: false });
    expect(await absorbedBy(c)).toEqual([`${a} superseded`, `${b} superseded`]);
  });

  test('one that is lost is given up, not cancelled', async () => {
    const rule = keyed('supersede');
    const a = await ledger.admitted(rule);
    await start(a);
    await ledger.elapse(a);
    await ledger.settle(a);
    const b = await ledger.admitted(rule);
    await ledger.pump();
    expect(await standings(a, b)).toEqual(['lost', 'queued']);
  });

  test('what is not approved yet supersedes nobody', async () => {
    const rule = keyed('supersede');
    const a = await ledger.admitted(rule);
    const held = await ledger.admitted({ ...rule, decision: 'hold' });
    await ledger.pump();
    expect(await standings(a, held)).toEqual(['queued', 'held for key']);
    await ledger.operate(held, { action: 'approve' });
    await ledger.pump();
    expect(await standings(a, held)).toEqual(['cancelled', 'queued']);
  });

  test('an old one that is handed over again supersedes nobody', async () => {
    const rule = keyed('supersede');
    const [a, b] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    await ledger.pump();
    await ledger.operate(a, { action: 'redeliver' });
    await ledger.pump();
    expect(await standings(a, b)).toEqual(['queued for key', 'queued']);
    expect(await absorbedBy(b)).toEqual([]);
  });

  test('hundreds in line give way to the newest', async () => {
    const rule = keyed('supersede');
    const ids = await Promise.all(Array.from({ length: 110 }, () => ledger.accept()));
    for (const id of ids) await ledger.admit(id, rule);
    await ledger.pump();
    const states = await standings(...ids);
    expect(states.slice(0, -1).every((state) => state === 'cancelled')).toBe(true);
    expect(states.at(-1)).toBe('queued');
  }, 60_000);
});

describe('coalesce', () => {
  test('the first newcomer waits, the others are covered by it, and it runs once', async () => {
    const rule = keyed('coalesce');
    const a = await ledger.admitted(rule);
    const running = await start(a);
    const [b, c, d] = [await ledger.admitted(rule), await ledger.admitted(rule), await ledger.admitted(rule)];
    expect(await standings(b, c, d)).toEqual(['queued for key', 'duplicate', 'duplicate']);
    const [decision] = await ledger.db.query('SELECT * FROM decisions WHERE workload_id = $1', [d]);
    expect(decision).toMatchObject({ decision: 'duplicate', duplicate_of: b, reason: 'coalesced' });
    await finish(running);
    const follower = await start(b);
    const events = await Promise.all([d, c].map(async (id) => (await ledger.workload(id)).event_id));
    expect(follower.claim.absorbed).toEqual({ count: 2, event_ids: events });
    const e = await ledger.admitted(rule);
    expect(await standings(e)).toEqual(['queued for key']);
    await finish(follower);
    expect(await standings(e)).toEqual(['queued']);
  });

  test('nothing that needs an approval is covered by what has one, nor the other way round', async () => {
    const rule = keyed('coalesce');
    const a = await ledger.admitted(rule);
    const b = await ledger.admitted(rule);
    const [held, covered] = [
      await ledger.admitted({ ...rule, decision: 'hold' }),
      await ledger.admitted({ ...rule, decision: 'hold' }),
    ];
    const c = await ledger.admitted(rule);
    expect(await standings(a, b, held, covered, c)).toEqual([
      'queued',
      'queued for key',
      'held for key',
      'duplicate',
      'duplicate',
    ]);
    expect(await absorbedBy(b)).toEqual([`${c} coalesced`]);
    expect(await absorbedBy(held)).toEqual([`${covered} coalesced`]);
  });
});

describe('a replay that passes the dedupe by', () => {
  const replayed = async (of: string, rule: TestRule): Promise<string> => {
    const order = { tenantId: 'default', workloadId: of, actor: 'test', reason: 'because', bypassDedupe: true };
    const { workloadId } = await ledger.db.transaction((tx) => replayWithin(tx, order));
    await ledger.admit(workloadId, rule);
    await ledger.pump();
    return workloadId;
  };

  test.each(['queue', 'supersede', 'coalesce'] as const)('%s: it neither waits, nor takes a place', async (mode) => {
    const rule = keyed(mode);
    const a = await ledger.admitted(rule);
    await finish(await start(a));
    const b = await ledger.admitted(rule);
    await start(b);
    const replay = await replayed(a, rule);
    expect(await standings(b, replay)).toEqual(['delivered', 'queued']);
    const c = await ledger.admitted({ ...rule, dedupe: { ...rule.dedupe!, on_duplicate: 'queue' } });
    const again = await replayed(a, rule);
    expect(await standings(b, replay, c, again)).toEqual(['delivered', 'queued', 'queued for key', 'queued']);
    expect((await workloadRecordOf(ledger.db, 'default', again))!.replay_of).toMatchObject({ bypassed_holder: b });
    expect(await ledger.audit(again, 'workload.dedupe_bypassed')).toMatchObject([{ detail: { held_by: b } }]);
  });

  test('one that needs an approval begins with it', async () => {
    const rule = keyed('queue');
    const a = await ledger.admitted(rule);
    await finish(await start(a));
    const replay = await replayed(a, { ...rule, decision: 'hold' });
    const b = await ledger.admitted(rule);
    await ledger.operate(replay, { action: 'approve' });
    await ledger.pump();
    expect(await standings(replay, b)).toEqual(['queued', 'queued']);
  });

  test('with nobody there it takes the key, like any other', async () => {
    const rule = keyed('queue');
    const a = await ledger.admitted(rule);
    await finish(await start(a));
    const replay = await replayed(a, rule);
    const b = await ledger.admitted(rule);
    expect(await standings(replay, b)).toEqual(['queued', 'queued for key']);
    expect((await workloadRecordOf(ledger.db, 'default', replay))!.replay_of).toMatchObject({ bypassed_holder: null });
  });

  test('limits hold for it', async () => {
    const rule = keyed('queue', { id: ledger.unique('rule'), flow: { rate: { max: 1, per: 60_000 } } });
    const a = await ledger.admitted(rule);
    await finish(await start(a));
    expect(await standings(await replayed(a, rule))).toEqual(['queued for rate']);
  });
});

describe('the record', () => {
  const recordOf = async (workId: string) => (await workloadRecordOf(ledger.db, 'default', workId))!;

  test('says who answered a hold, when and why', async () => {
    const hold = { deadline: 60_000, then: 'dispatch' } as const;
    const asked = (): Promise<string> => ledger.admitted({ decision: 'hold', hold });
    const [approved, denied, expired, open] = [await asked(), await asked(), await asked(), await asked()];
    await ledger.operate(approved, { action: 'approve' });
    await ledger.operate(denied, { action: 'deny' });
    await ledger.elapse(expired);
    await ledger.settle(expired);
    const answered = { by: 'test', at: expect.any(String) as string, reason: 'because', then: 'dispatch' };
    expect((await recordOf(approved)).hold).toMatchObject({ ...answered, answer: 'approved' });
    expect((await recordOf(denied)).hold).toMatchObject({ ...answered, answer: 'denied' });
    expect(await recordOf(expired)).toMatchObject({
      state: 'queued',
      hold: { answer: 'expired', by: 'deadline', reason: null },
    });
    expect((await recordOf(open)).hold).toMatchObject({ answer: null, by: null, at: null });
    expect((await recordOf(await ledger.admitted())).hold).toBeNull();
  });

  test('lists whom a workload covers, also through others, and who covers it', async () => {
    const rule: TestRule = { id: ledger.unique('rule'), flow: { debounce: { for: 60_000, max_wait: null } } };
    const ids = [];
    for (let index = 0; index < 3; index += 1) {
      ids.push(await ledger.admitted(rule));
      await ledger.pump();
    }
    const [newest, first] = [await recordOf(ids[2]!), await recordOf(ids[0]!)];
    expect(newest.absorbed).toMatchObject([
      { workload_id: ids[0], event_id: first.event_id, how: 'debounced' },
      { workload_id: ids[1], how: 'debounced' },
    ]);
    expect([first.absorbed_by, newest.absorbed_by]).toEqual([ids[1], null]);
    expect(newest).toMatchObject({ waiting_for: 'debounce', opens_at: expect.any(String) as string });
  });

  test('lists what was dropped', async () => {
    const rule: TestRule = { dedupe: { key: ledger.unique('key'), window: 60_000 } };
    const [first, dropped] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    expect((await recordOf(first)).absorbed).toMatchObject([{ workload_id: dropped, how: 'dropped' }]);
    expect((await recordOf(dropped)).absorbed_by).toBe(first);
  });
});

describe('limits', () => {
  test('no more at once than max, for each key on its own', async () => {
    const id = ledger.unique('rule');
    const rule = (key: string): TestRule => ({
      id,
      flow: { concurrency: { max: 2 } },
      flowKeys: { concurrency: key },
    });
    const ids = [];
    for (let index = 0; index < 4; index += 1) ids.push(await ledger.admitted(rule('x')));
    const other = await ledger.admitted(rule('y'));
    expect(await standings(...ids, other)).toEqual([
      'queued',
      'queued',
      'queued for concurrency',
      'queued for concurrency',
      'queued',
    ]);
    await finish(await start(ids[1]!));
    expect(await standings(...ids)).toEqual(['queued', 'completed', 'queued', 'queued for concurrency']);
  });

  test('no more starts than max in any window, and the next one by the clock', async () => {
    const rule: TestRule = { id: ledger.unique('rule'), flow: { rate: { max: 2, per: 60_000 } } };
    const ids = [];
    for (let index = 0; index < 4; index += 1) ids.push(await ledger.admitted(rule));
    await ledger.pump();
    expect(await standings(...ids)).toEqual(['queued', 'queued', 'queued for rate', 'queued for rate']);
    const next = await ledger.workload(ids[2]!);
    expect(next.opens_at!.getTime() - next.accepted_at.getTime()).toBeGreaterThan(30_000);
    expect((await ledger.settle(ids[2]!)).wait_ms).toBeLessThanOrEqual(60_000);
    // Its end makes no room: a rate counts starts.
    await finish(await start(ids[0]!));
    expect(await standings(ids[2]!)).toEqual(['queued for rate']);
    await ledger.db.query(
      "UPDATE lane_places SET opened_at = opened_at - interval '1 minute', look_at = look_at - interval '1 minute' WHERE workload_id = $1",
      [ids[0]],
    );
    await ledger.pump();
    expect(await standings(...ids.slice(1))).toEqual(['queued', 'queued', 'queued for rate']);
    expect((await ledger.workload(ids[3]!)).opens_at).not.toBeNull();
  });

  test('starts that are long out of the window do not hide those within', async () => {
    const rule: TestRule = { id: ledger.unique('rule'), flow: { rate: { max: 1, per: 60_000 } } };
    const a = await ledger.admitted(rule);
    // Nobody cleared them away yet.
    await ledger.db.query(
      `INSERT INTO lane_places (tenant_id, lane, gate, workload_id, state, capacity, period_ms, opened_at)
       SELECT tenant_id, lane, gate, workload_id, state, capacity, period_ms, opened_at - interval '2 minutes'
       FROM lane_places, generate_series(1, 2000) WHERE workload_id = $1`,
      [a],
    );
    await ledger.db.query(
      `INSERT INTO lane_places (tenant_id, lane, gate, workload_id, state, capacity, period_ms, opened_at)
       SELECT tenant_id, lane, gate, workload_id, state, capacity, period_ms, opened_at
       FROM lane_places WHERE seq = (SELECT min(seq) FROM lane_places WHERE workload_id = $1)`,
      [a],
    );
    await ledger.db.query(
      'DELETE FROM lane_places WHERE seq = (SELECT min(seq) FROM lane_places WHERE workload_id = $1)',
      [a],
    );
    expect(await standings(await ledger.admitted(rule))).toEqual(['queued for rate']);
  });

  test('several gates are passed in their order, and what is held there is kept', async () => {
    const rule = keyed('queue', { id: ledger.unique('rule'), flow: { concurrency: { max: 1 } } });
    const other: TestRule = { ...rule, dedupe: { key: ledger.unique('key'), on_duplicate: 'queue' } };
    const [a, b, c] = [await ledger.admitted(rule), await ledger.admitted(other), await ledger.admitted(rule)];
    expect(await standings(a, b, c)).toEqual(['queued', 'queued for concurrency', 'queued for key']);
    await finish(await start(a));
    expect(await standings(b, c)).toEqual(['queued', 'queued for concurrency']);
    await finish(await start(b));
    expect(await standings(c)).toEqual(['queued']);
  });
});

describe('debounce', () => {
  const quiet = (rule: TestRule = {}): TestRule => ({
    id: ledger.unique('rule'),
    flow: { debounce: { for: 60_000, max_wait: 150_000 } },
    ...rule,
  });
  const pass = (workId: string, interval: string): Promise<object[]> =>
    ledger.db.query(
      `UPDATE lane_places SET entered_at = entered_at - $2::interval, burst_at = burst_at - $2::interval,
         look_at = clock_timestamp() - interval '1 second' WHERE workload_id = $1`,
      [workId, interval],
    );

  test('the newest wins when nothing came for a while', async () => {
    const rule = quiet();
    const [a, b] = [await ledger.admitted(rule), await ledger.admitted(rule)];
    await ledger.pump();
    expect(await standings(a, b)).toEqual(['cancelled', 'queued for debounce']);
    expect(await ledger.workload(a)).toMatchObject({ reason: 'debounced', may_still_run: false });
    expect(await absorbedBy(b)).toEqual([`${a} debounced`]);
    expect((await ledger.workload(b)).opens_at).not.toBeNull();
    await pass(b, '1 minute');
    await ledger.pump();
    expect(await standings(b)).toEqual(['queued']);
    const c = await ledger.admitted(rule);
    expect(await standings(b, c)).toEqual(['queued', 'queued for debounce']);
    expect((await start(b)).claim.absorbed).toMatchObject({ count: 1 });
  });

  test('a stream that never stops is worked on after max_wait', async () => {
    const rule = quiet();
    let newest = await ledger.admitted(rule);
    await ledger.pump();
    for (let round = 0; round < 3; round += 1) {
      await pass(newest, '40 seconds');
      const next = await ledger.admitted(rule);
      await ledger.pump();
      expect(await standings(newest)).toEqual(['cancelled']);
      newest = next;
    }
    await pass(newest, '40 seconds');
    await ledger.pump();
    expect(await standings(newest)).toEqual(['queued']);
    expect((await start(newest)).claim.absorbed).toMatchObject({ count: 3 });
  });
});
