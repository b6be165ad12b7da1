import fc from 'fast-check';
import type { OnDuplicate } from '../../contracts/flow-control';
import type { IntentGranted } from '../../contracts/worker-protocol';
import type { WorkerPrincipal } from '../../ledger/workers';
import { FreshLedger, race, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
let worker: WorkerPrincipal;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 8 });
  worker = await ledger.enrol({ pool: 'default', maxOpenDeliveries: 1000 });
  // What the lanes forget when it no longer counts: the order in which they were entered, and the starts.
  for (const [table, column, type, when] of [
    ['placed_once', 'seq', 'bigint', "INSERT ON lane_places FOR EACH ROW WHEN (NEW.gate = 'key')"],
    [
      'started_once',
      'opened_at',
      'timestamptz',
      "INSERT OR UPDATE OF state ON lane_places FOR EACH ROW WHEN (NEW.gate = 'rate' AND NEW.state = 'open')",
    ],
  ]) {
    await ledger.db.query(`CREATE TABLE ${table} (workload_id text PRIMARY KEY, ${column} ${type} NOT NULL)`);
    await ledger.db.query(`CREATE FUNCTION ${table}() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO ${table} VALUES (NEW.workload_id, NEW.${column}); RETURN NULL; END $$`);
    await ledger.db.query(`CREATE TRIGGER ${table} AFTER ${when} EXECUTE FUNCTION ${table}()`);
  }
});
afterAll(() => ledger.close());

/** What happens next; `admit` brings one event, the others act on whoever it concerns at that moment. */
const STEPS = ['admit', 'admit', 'admit', 'pump', 'start', 'finish', 'finish', 'cancel', 'admit two'] as const;
type Step = (typeof STEPS)[number];

interface Ended {
  id: string;
  event: string;
  state: string;
  by: string | null;
  how: string | null;
  duplicate_of: string | null;
}

/** One key's story with an account beside it: who was admitted in which order, who ran and what it was told of, who was cancelled. */
class Story {
  readonly admitted: string[] = [];
  readonly ran: { id: string; told: string[]; before: number }[] = [];
  readonly cancelled = new Set<string>();
  private readonly atWork = new Map<string, IntentGranted>();

  constructor(private readonly rule: TestRule) {}

  async play(step: Step): Promise<void> {
    if (step === 'pump') return ledger.pump();
    if (step === 'admit') return this.admit();
    if (step === 'admit two') return this.admitTwo();
    if (step === 'start') return this.start();
    if (step === 'finish') return this.finish();
    const waiting = await this.waiting();
    if (waiting[0] === undefined) return;
    const last = waiting.at(-1)!;
    // While somebody looks at the lane, so that it may be its turn this moment.
    const cancel = async (): Promise<void> => {
      await ledger.operate(last, { action: 'cancel' });
      this.cancelled.add(last);
    };
    // It may have given way already.
    await race([cancel, () => ledger.pump()]);
  }

  /** Everybody comes to an end. */
  async drain(): Promise<void> {
    for (let left = 1; left > 0;) {
      await ledger.pump();
      await this.start();
      await this.finish();
      left = await this.open();
    }
  }

  private async admit(): Promise<void> {
    this.admitted.push(await ledger.admitted(this.rule));
  }

  /** At once, and while somebody looks at the lane: which is first, the lane says. */
  private async admitTwo(): Promise<void> {
    const ids = await Promise.all([ledger.accept(), ledger.accept()]);
    await Promise.all([...ids.map((id) => ledger.admit(id, this.rule)), ledger.pump()]);
    const places = await ledger.db.query<{ workload_id: string }>(
      'SELECT workload_id FROM placed_once WHERE workload_id = ANY($1) ORDER BY seq',
      [ids],
    );
    const placed = places.map(({ workload_id }) => workload_id);
    this.admitted.push(...placed, ...ids.filter((id) => !placed.includes(id)));
  }

  private async start(): Promise<void> {
    const past = await this.past();
    expect(past.length).toBeLessThanOrEqual(1);
    const [id] = past;
    if (id === undefined || this.atWork.has(id)) return;
    const { claim, intent } = await ledger.delivered({}, { workId: id, principal: worker });
    this.atWork.set(id, intent);
    this.ran.push({ id, told: claim.absorbed?.event_ids ?? [], before: this.admitted.length });
  }

  private async finish(): Promise<void> {
    for (const [id, { delivery_number: number }] of this.atWork) {
      this.atWork.delete(id);
      await ledger.report(worker, id, 'completed', { number });
    }
  }

  private past(): Promise<string[]> {
    return this.ids("NOT closed AND waiting_for IS NULL AND state <> 'accepted'");
  }

  private waiting(): Promise<string[]> {
    return this.ids("state = 'queued' AND waiting_for IS NOT NULL");
  }

  private async open(): Promise<number> {
    return (await this.ids('NOT closed')).length;
  }

  private async ids(condition: string): Promise<string[]> {
    const rows = await ledger.db.query<{ workload_id: string }>(
      `SELECT workload_id FROM workloads WHERE workload_id = ANY($1) AND ${condition}`,
      [this.admitted],
    );
    return rows.map(({ workload_id }) => workload_id);
  }

  /** In the order of admission. */
  ends(): Promise<Ended[]> {
    return ledger.db.query<Ended>(
      `SELECT workload_id AS id, w.event_id AS event, state, absorbed_by AS by, how, duplicate_of
       FROM workloads w JOIN decisions d USING (workload_id) LEFT JOIN absorbed a USING (workload_id)
       WHERE workload_id = ANY($1) ORDER BY array_position($1, workload_id)`,
      [this.admitted],
    );
  }
}

/** Each event ran, or is covered by exactly one other that is not itself, or was cancelled by somebody: never two of it, never none. */
function expectAccount(story: Story, ends: Ended[]): void {
  expect(ends).toHaveLength(story.admitted.length);
  const ran = story.ran.map(({ id }) => id);
  expect(new Set(ran).size).toBe(ran.length);
  for (const { id, state, by, how } of ends) {
    const covered = how !== null;
    const cancelled = story.cancelled.has(id);
    if (state === 'completed') expect([ran.includes(id), covered, cancelled]).toEqual([true, false, false]);
    else if (state === 'duplicate') expect([ran.includes(id), how, cancelled]).toEqual([false, 'coalesced', false]);
    else expect([state, covered]).toEqual(['cancelled', !cancelled]);
    if (covered) expect(story.admitted.filter((each) => each === by && each !== id)).toHaveLength(1);
  }
}

const AT_ITS_END: Record<Exclude<OnDuplicate, 'drop'>, (story: Story, ends: Ended[]) => void> = {
  queue: ({ admitted, ran, cancelled }) => {
    expect(ran.map(({ id }) => id)).toEqual(admitted.filter((id) => !cancelled.has(id)));
  },
  supersede: ({ admitted, cancelled }, ends) => {
    const newest = ends.filter(({ id }) => !cancelled.has(id)).at(-1);
    // Who gave way to one that was cancelled afterwards stays as it is.
    if (newest && !cancelled.has(newest.by ?? '')) expect([newest.state, newest.by]).toEqual(['completed', null]);
    for (const { how, by, id } of ends.filter((each) => each.how !== null)) {
      expect(how).toBe('superseded');
      expect(admitted.indexOf(by!)).toBeGreaterThan(admitted.indexOf(id));
    }
  },
  coalesce: ({ ran, cancelled }, ends) => {
    const eventOf = new Map(ends.map(({ id, event }) => [id, event]));
    const covered = ends.filter(({ how }) => how !== null);
    for (const { by, duplicate_of } of covered) expect(duplicate_of).toBe(by);
    // Each run is told of all that it covers, and of nothing else.
    for (const { id, told } of ran)
      expect([...told].sort()).toEqual(
        covered
          .filter(({ by }) => by === id)
          .map(({ event }) => event)
          .sort(),
      );
    const told = ran.flatMap((each) => each.told);
    const lost = covered.filter(({ by }) => cancelled.has(by!)).map(({ id }) => eventOf.get(id));
    expect([...told, ...lost].sort()).toEqual(covered.map(({ event }) => event).sort());
  },
};

test.each(['queue', 'supersede', 'coalesce'] as const)(
  '%s: in whatever order things happen, each event is accounted for exactly once',
  async (mode) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...STEPS), { minLength: 6, maxLength: 14 }), async (steps) => {
        const story = new Story({ dedupe: { key: ledger.unique('key'), on_duplicate: mode } });
        for (const step of steps) await story.play(step);
        await story.drain();
        const ends = await story.ends();
        expectAccount(story, ends);
        AT_ITS_END[mode](story, ends);
      }),
      { numRuns: 10, endOnFailure: true },
    );
  },
  60_000,
);

test('rate: whoever comes whenever, never more than max start within any window', async () => {
  const per = 150;
  for (const max of [1, 3]) {
    const rule: TestRule = { id: ledger.unique('rule'), flow: { rate: { max, per } } };
    const ids = await Promise.all(Array.from({ length: 4 * max + 2 }, () => ledger.accept()));
    const admitting = Promise.all(ids.map((id) => ledger.admit(id, rule)));
    const starts = new Map<string, number>();
    const deadline = Date.now() + 30_000;
    while (starts.size < ids.length && Date.now() < deadline) {
      await Promise.all([ledger.pump(), ledger.pump()]);
      const open = await ledger.db.query<{ workload_id: string; at: number }>(
        `SELECT workload_id, (extract(epoch FROM opened_at) * 1000)::float8 AS at FROM started_once WHERE workload_id = ANY($1)`,
        [ids],
      );
      for (const { workload_id, at } of open) starts.set(workload_id, at);
    }
    await admitting;
    const times = [...starts.values()].sort((a, b) => a - b);
    expect(times).toHaveLength(ids.length);
    for (const [index, at] of times.entries())
      if (index >= max) expect(at - times[index - max]!).toBeGreaterThanOrEqual(per);
  }
}, 60_000);

test('debounce: the newest of each burst runs, none of it later than max_wait after its first', async () => {
  const [quiet, most] = [200, 500];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(260), { minLength: 4, maxLength: 7 }), async (gaps) => {
      const rule: TestRule = { id: ledger.unique('rule'), flow: { debounce: { for: quiet, max_wait: most } } };
      const ids: string[] = [];
      for (const gap of gaps) {
        ids.push(await ledger.admitted(rule));
        // The clock of the lane goes on by the gap.
        await ledger.pump();
        await ledger.db.query(
          `UPDATE lane_places SET entered_at = entered_at - $2 * interval '1 millisecond',
             burst_at = burst_at - $2 * interval '1 millisecond', look_at = clock_timestamp() - interval '1 millisecond'
           WHERE workload_id = ANY($1) AND state = 'waiting'`,
          [ids, gap],
        );
        const [{ at }] = (await ledger.db.query<{ at: Date }>('SELECT clock_timestamp() AS at')) as [{ at: Date }];
        await ledger.pump();
        const overdue = await ledger.db.query(
          `SELECT 1 FROM lane_places WHERE workload_id = ANY($1) AND state = 'waiting'
             AND coalesce(burst_at, entered_at) < $2::timestamptz - $3 * interval '1 millisecond'`,
          [ids, at, most],
        );
        expect(overdue).toEqual([]);
      }
      await ledger.db.query(
        `UPDATE lane_places SET entered_at = entered_at - interval '1 second', look_at = clock_timestamp() - interval '1 second'
         WHERE workload_id = ANY($1) AND state = 'waiting'`,
        [ids],
      );
      await ledger.pump();
      const ends = await ledger.db.query<{ id: string; state: string; by: string | null }>(
        `SELECT workload_id AS id, state, absorbed_by AS by FROM workloads LEFT JOIN absorbed USING (workload_id)
         WHERE workload_id = ANY($1) ORDER BY array_position($1, workload_id)`,
        [ids],
      );
      expect(ends.at(-1)).toMatchObject({ state: 'queued', by: null });
      // Each gives way to the one right after it, or it is the newest of its burst and runs.
      for (const [index, { state, by }] of ends.entries())
        expect([state, by]).toEqual(by === null ? ['queued', null] : ['cancelled', ids[index + 1]]);
    }),
    { numRuns: 8, endOnFailure: true },
  );
}, 60_000);
