import fc from 'fast-check';
import type { OnDuplicate } from '../../contracts/flow-control';
import { FreshLedger, race, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 12 });
});
afterAll(() => ledger.close());

interface Standing {
  id: string;
  state: string;
  waiting_for: string | null;
  closed: boolean;
  delivery: number;
  absorbed_by: string | null;
}

const KEYS = 2;
const MAX = 2;
type Step =
  | { do: 'admit'; key: number }
  | { do: 'hold'; key: number }
  | { do: 'start' | 'complete' | 'lose' | 'resolve' | 'cancel' | 'approve' | 'redeliver'; which: number }
  | { do: 'pump' };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.nat(KEYS - 1).map((key): Step => ({ do: 'admit', key })) },
  { weight: 1, arbitrary: fc.nat(KEYS - 1).map((key): Step => ({ do: 'hold', key })) },
  {
    weight: 8,
    arbitrary: fc
      .tuple(
        fc.constantFrom('start', 'start', 'complete', 'complete', 'lose', 'resolve', 'cancel', 'approve', 'redeliver'),
        fc.nat(30),
      )
      .map(([what, which]): Step => ({ do: what, which })),
  },
  { weight: 3, arbitrary: fc.constant<Step>({ do: 'pump' }) },
);

/** One story in lanes of its own, on the real ledger; the account of it is kept beside. */
class Story {
  readonly ids: string[] = [];
  readonly keyOf = new Map<string, number>();
  private readonly name = ledger.unique('story');

  constructor(private readonly mode: OnDuplicate | 'concurrency') {}

  private rule(key: number, decision: 'dispatch' | 'hold'): TestRule {
    const value = `${this.name}-${key}`;
    return this.mode === 'concurrency'
      ? { id: this.name, decision, flow: { concurrency: { max: MAX } }, flowKeys: { concurrency: value } }
      : { id: this.name, decision, dedupe: { key: value, on_duplicate: this.mode } };
  }

  async play(each: Step): Promise<void> {
    if (each.do === 'pump') return ledger.pump();
    if (each.do === 'admit' || each.do === 'hold') {
      const id = await ledger.admitted(this.rule(each.key, each.do === 'admit' ? 'dispatch' : 'hold'));
      this.ids.push(id);
      this.keyOf.set(id, each.key);
      return;
    }
    if (this.ids.length === 0) return;
    const id = this.ids[each.which % this.ids.length]!;
    // What the state does not allow is refused, and changes nothing.
    await race([() => this.act(each.do, id)]);
  }

  private async act(what: string, id: string): Promise<unknown> {
    if (what === 'start') return ledger.delivered({}, { workId: id, principal: worker });
    if (what === 'complete') {
      const { delivery } = await ledger.workload(id);
      return ledger.report(worker, id, 'completed', { number: delivery });
    }
    if (what === 'lose') {
      if (!['delivered', 'running'].includes((await ledger.workload(id)).state)) return;
      await ledger.elapse(id);
      return ledger.settle(id);
    }
    if (what === 'resolve') return ledger.operate(id, { action: 'resolve', outcome: 'completed' });
    return ledger.operate(id, { action: what as 'cancel' | 'approve' | 'redeliver' });
  }

  /** In the order of admission into the lane. */
  standings(): Promise<Standing[]> {
    return ledger.db.query<Standing>(
      `SELECT w.workload_id AS id, w.state, w.waiting_for, w.closed, w.delivery, a.absorbed_by FROM workloads w
       LEFT JOIN absorbed a USING (workload_id) WHERE workload_id = ANY($1)
       ORDER BY (SELECT max(seq) FROM lane_places p WHERE p.workload_id = w.workload_id), w.accepted_at`,
      [this.ids],
    );
  }
}

let worker: Awaited<ReturnType<FreshLedger['enrol']>>;
beforeAll(async () => {
  worker = await ledger.enrol({ pool: 'default', maxOpenDeliveries: 1000 });
});

const isPast = ({ waiting_for, closed, state }: Standing): boolean =>
  !closed && waiting_for === null && !['accepted', 'held', 'lost'].includes(state);

/** What holds at any moment, pumped or not. */
function expectRoom(mode: string, standings: Standing[], keyOf: Map<string, number>): void {
  for (let key = 0; key < KEYS; key += 1) {
    const past = standings.filter((each) => keyOf.get(each.id) === key && isPast(each));
    expect(past.length).toBeLessThanOrEqual(mode === 'concurrency' ? MAX : 1);
  }
}

/** What holds once every lane was looked at. */
function expectSettled(mode: string, standings: Standing[], keyOf: Map<string, number>): void {
  for (let key = 0; key < KEYS; key += 1) {
    const lane = standings.filter((each) => keyOf.get(each.id) === key);
    const waiting = lane.filter(({ state, waiting_for }) => state === 'queued' && waiting_for !== null);
    const holding = lane.filter((each) => isPast(each) || each.state === 'lost');
    const open = holding.filter(({ closed }) => !closed).length;
    // Nobody waits while there is room.
    if (waiting.length > 0) expect(open).toBeGreaterThanOrEqual(mode === 'concurrency' ? MAX : 1);
    for (const each of lane) {
      if (each.state === 'duplicate') expect([mode, each.absorbed_by]).toEqual(['coalesce', expect.any(String)]);
      if (each.absorbed_by !== null) expect(['duplicate', 'cancelled']).toContain(each.state);
    }
  }
}

test.each(['queue', 'supersede', 'coalesce', 'concurrency'] as const)(
  '%s: whatever comes in whatever order, no lane lets through too many, none stands still, each event is accounted for',
  async (mode) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 16 }), async (steps) => {
        const story = new Story(mode);
        for (const each of steps) {
          await story.play(each);
          expectRoom(mode, await story.standings(), story.keyOf);
        }
        await ledger.pump();
        const standings = await story.standings();
        expectRoom(mode, standings, story.keyOf);
        expectSettled(mode, standings, story.keyOf);
      }),
      { numRuns: 12 },
    );
  },
  90_000,
);

test('many that admit, pump, end and cancel at once do not lock each other out, and all come to their turn', async () => {
  const name = ledger.unique('storm');
  const modes = ['queue', 'supersede', 'coalesce'] as const;
  const rules = Array.from({ length: 4 }, (_, index): TestRule => ({
    id: name,
    dedupe: { key: `${name}-${index % 2}`, on_duplicate: modes[index % 3]! },
    flow: { concurrency: { max: 2 }, rate: { max: 1000, per: 1_000 } },
  }));
  const before = await deadlocks();
  const ids = await Promise.all(Array.from({ length: 32 }, () => ledger.accept()));
  const live = [...ids];
  await race(ids.map((id, index) => () => ledger.admit(id, rules[index % 4])));
  for (let round = 0; round < 60 && live.length > 0; round += 1) {
    const acts = live.flatMap((id, index) => [
      () => act(id, index + round),
      ...(index % 4 === 0 ? [() => ledger.pump()] : []),
    ]);
    await race(acts.slice(0, 24));
    const open = await ledger.db.query<{ workload_id: string }>(
      'SELECT workload_id FROM workloads WHERE workload_id = ANY($1) AND NOT closed ORDER BY waiting_for NULLS FIRST',
      [ids],
    );
    live.splice(0, live.length, ...open.map(({ workload_id }) => workload_id));
  }
  expect(live).toEqual([]);
  expect(await deadlocks()).toBe(before);
  await ledger.pump();
  expect(
    await ledger.db.query("SELECT 1 FROM lane_places WHERE workload_id = ANY($1) AND gate <> 'rate'", [ids]),
  ).toEqual([]);
}, 60_000);

async function act(id: string, luck: number): Promise<unknown> {
  const row = await ledger.workload(id);
  if (luck % 7 === 0) return ledger.operate(id, { action: 'cancel' });
  if (row.state === 'queued' && row.waiting_for === null)
    return ledger.delivered({}, { workId: id, principal: worker });
  if (row.state === 'delivered') return ledger.report(worker, id, 'completed', { number: row.delivery });
  return ledger.settle(id);
}

async function deadlocks(): Promise<string> {
  const [row] = await ledger.db.query<{ deadlocks: string }>(
    'SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()',
  );
  return row!.deadlocks;
}
