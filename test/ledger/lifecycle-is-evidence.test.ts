import fc from 'fast-check';
import { DEFAULT_DEADLINES } from '../../contracts/deadlines';
import type { RuleSnapshot } from '../../contracts/policy';
import { REDELIVER_ON } from '../../contracts/retry';
import { LIFECYCLE_STATUSES, TERMINAL_STATUSES } from '../../contracts/terminology';
import type { Fact } from '../../domain/workload-progress';
import { failLease, recordIntent, releaseLease, reportWrite } from '../../ledger/deliveries';
import type { FencedWrite } from '../../ledger/fenced-write';
import { recordLifecycle, STRANGERS_PER_MINUTE } from '../../ledger/lifecycle';
import type { OperatorAction } from '../../ledger/operator-actions';
import type { WorkerPrincipal } from '../../ledger/workers';
import { FreshLedger, intentKey, race } from '../support/fresh-ledger';
import { LedgerModel } from '../support/ledger-model';

let ledger: FreshLedger;
/** Two of the workload's pool and one of another. */
let workers: WorkerPrincipal[];
beforeAll(async () => {
  ledger = await FreshLedger.open();
  workers = [];
  for (const pool of ['theirs', 'theirs', 'foreign']) {
    workers.push(await ledger.enrol({ pool, maxOpenDeliveries: 1000 }));
  }
});
afterAll(() => ledger.close());

/** A thing that happens to the workload, in the model and in the ledger. */
type Step = (story: Story) => Promise<void>;

class Story {
  private readonly writes = new Map<number, FencedWrite>();
  /** Records that name no workload of the ledger. */
  strangers = 0;

  private constructor(
    readonly workId: string,
    readonly key: string,
    readonly model: LedgerModel,
  ) {}

  static async begin(retry: RuleSnapshot['retry']): Promise<Story> {
    const key = ledger.unique('key');
    const workId = await ledger.admitted({ pool: 'theirs', retry, dedupe: { key, window: 0 } });
    const terms = { redeliverOn: retry.redeliver_on, maxDeliveries: retry.max_deliveries };
    const hold = { deadline: 0, then: 'deny' as const };
    return new Story(workId, key, new LedgerModel({ deadlines: DEFAULT_DEADLINES, hold, ...terms }));
  }

  async answers(expected: string, call: () => Promise<unknown>): Promise<void> {
    const [answer] = await race([call]);
    expect(typeof answer === 'string' ? answer : 'ok').toBe(expected);
  }

  async claim(worker: number): Promise<void> {
    await this.answers(this.model.claim(worker), async () => {
      const claimed = await ledger.claim(workers[worker]!, this.workId, { executorRestarted: true });
      this.writes.set(worker, claimed.write);
    });
  }

  /** Writes under the latest lease that the worker was given; nothing when it never had one. */
  async write(worker: number, expected: () => string, call: (write: FencedWrite) => Promise<unknown>): Promise<void> {
    const write = this.writes.get(worker);
    if (write) await this.answers(expected(), () => call(write));
  }

  /** The ledger has what the model has. */
  async check(): Promise<void> {
    const { model, workId } = this;
    const row = await ledger.workload(workId);
    const { state, delivery, attempts, maxDeliveries, closed, mayStillRun, deadline } = model.progress;
    expect(row).toMatchObject({
      state,
      delivery,
      attempts,
      closed,
      max_deliveries: maxDeliveries,
      may_still_run: mayStillRun,
      deadline_kind: deadline?.kind ?? null,
      double_execution: model.kept.some(({ effect }) => effect === 'double_execution'),
    });
    const lease = await ledger.lease(workId);
    expect(lease?.closed_at === null).toBe(model.lease?.open ?? false);
    if (lease) expect(lease.worker_id).toBe(workers[model.lease!.worker]!.workerId);
    const deliveries = await ledger.deliveries(workId);
    expect(deliveries.map(({ number, write }) => [number, write])).toEqual([...model.writes].sort());
    expect(deliveries.filter((each) => each.slot_until).map(({ number }) => number)).toEqual([...model.slots].sort());
    expect(await ledger.db.query('SELECT open FROM dedupe_claims WHERE workload_id = $1', [workId])).toEqual([
      { open: !closed },
    ]);
  }

  async checkEvidence(): Promise<void> {
    const kept = await ledger.db.query(
      `SELECT delivery_number AS number, event_id, effect FROM lifecycle_events WHERE workload_id = $1 ORDER BY seq`,
      [this.workId],
    );
    expect(kept).toEqual(this.model.kept);
  }
}

/** A step that reads well in a counterexample. */
const named = (name: unknown[], play: Step): Step =>
  Object.assign(play, { [fc.toStringMethod]: () => name.map((part) => JSON.stringify(part)).join(' ') });

const worker = fc.constantFrom(0, 1);
const claims = worker.map((who) => named(['claim', who], (story) => story.claim(who)));

/** A write of a worker's, in the model and in the ledger. */
const writes = (
  name: string,
  expected: (model: LedgerModel, who: number) => string,
  call: (write: FencedWrite) => Promise<unknown>,
) => worker.map((who) => named([name, who], (story) => story.write(who, () => expected(story.model, who), call)));

const intents = writes(
  'intent',
  (model, who) => model.intent(who),
  (write) => recordIntent(ledger.db, write, intentKey()),
);
const reports = writes(
  'report',
  (model, who) => model.report(who),
  (write) => reportWrite(ledger.db, write, { write: 'written' }),
);
const releases = writes(
  'release',
  (model, who) => model.release(who),
  (write) => releaseLease(ledger.db, write, 'ENXIO'),
);
const failures = fc.boolean().chain((retryable) =>
  writes(
    retryable ? 'fail' : 'refuse',
    (model, who) => model.fail(who, retryable),
    (write) => failLease(ledger.db, write, { code: 'too_large', retryable }),
  ),
);
const lifecycles = fc
  .record({
    who: fc.constantFrom(0, 0, 0, 1, 2),
    number: fc.constantFrom(1, 1, 2, 3),
    status: fc.constantFrom(...LIFECYCLE_STATUSES),
    event_id: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'),
    mismatching: fc.constantFrom(false, false, false, true),
  })
  .map((given) =>
    named(['lifecycle', given], async ({ workId, model }) => {
      const { who, mismatching, ...record } = given;
      const { effect, moved } = model.lifecycle(who, given);
      const source = mismatching ? 'another' : 'rss';
      const answer = await ledger.report(workers[who]!, workId, record.status, { ...record, source });
      expect([answer.effect, answer.wake !== null]).toEqual([effect, moved]);
    }),
  );
const strangers = fc.constantFrom(`wl_${'z'.repeat(32)}`, 'not-an-id', 'wl_short~2', '').map((id) =>
  named(['stranger', id], async (story) => {
    const answer = await ledger.report(workers[0]!, id, 'completed');
    expect(answer).toEqual({ effect: 'unknown_delivery', wake: null });
    story.strangers += 1;
  }),
);
const deadlines = fc.constant(
  named(['deadline'], async ({ workId, model }) => {
    await ledger.elapse(workId);
    await ledger.settle(workId);
    model.elapse();
  }),
);
const ORDERS: [OperatorAction, Fact][] = [
  [{ action: 'cancel' }, { type: 'cancelled' }],
  [{ action: 'redeliver' }, { type: 'redelivered' }],
  [{ action: 'redeliver' }, { type: 'redelivered' }],
  ...TERMINAL_STATUSES.map((outcome): [OperatorAction, Fact] => [
    { action: 'resolve', outcome },
    { type: 'resolved', outcome },
  ]),
];
const orders = fc
  .constantFrom(...ORDERS)
  .map(([action, fact]) =>
    named([action], (story) => story.answers(story.model.operate(fact), () => ledger.operate(story.workId, action))),
  );

/** Claim and intent at one go, so that stories get somewhere. */
const deliveries = worker.map((who) =>
  named(['deliver', who], async (story) => {
    await story.claim(who);
    await story.write(
      who,
      () => story.model.intent(who),
      (write) => recordIntent(ledger.db, write, intentKey()),
    );
  }),
);

const step = fc.oneof(
  { arbitrary: deliveries, weight: 6 },
  { arbitrary: lifecycles, weight: 10 },
  { arbitrary: orders, weight: 3 },
  { arbitrary: claims, weight: 2 },
  { arbitrary: intents, weight: 2 },
  { arbitrary: releases, weight: 2 },
  { arbitrary: deadlines, weight: 2 },
  { arbitrary: reports, weight: 1 },
  { arbitrary: failures, weight: 1 },
  { arbitrary: strangers, weight: 1 },
);
const retries = fc.record({
  redeliver_on: fc.subarray([...REDELIVER_ON]),
  max_deliveries: fc.integer({ min: 1, max: 3 }),
});

test('whatever comes in whatever order, the ledger has what the model has and every record once', async () => {
  await fc.assert(
    fc.asyncProperty(retries, fc.array(step, { minLength: 5, maxLength: 30, size: 'max' }), async (retry, steps) => {
      await ledger.db.query('DELETE FROM lifecycle_events WHERE workload_id IS NULL');
      const story = await Story.begin(retry);
      for (const each of steps) {
        await each(story);
        await story.check();
      }
      await story.checkEvidence();
      expect(await ledger.db.query('SELECT 1 FROM lifecycle_events WHERE workload_id IS NULL')).toHaveLength(
        story.strangers,
      );
    }),
    { numRuns: 100 },
  );
});

test('a record that is sent many times at once is kept and applied once', async () => {
  const { workId, principal } = await ledger.delivered();
  const answers = await Promise.all(
    Array.from({ length: 12 }, () => ledger.report(principal, workId, 'running', { event_id: 'once' })),
  );
  expect(answers.map(({ effect }) => effect).sort()).toEqual(['applied', ...Array<string>(11).fill('duplicate')]);
  expect(await ledger.audit(workId, 'workload.running')).toHaveLength(1);
});

test('what another pool said under an event id does not keep out what the executor says under it', async () => {
  const { workId, principal } = await ledger.delivered();
  const foreign = workers[2]!;
  expect(await ledger.report(foreign, workId, 'failed', { event_id: 'taken' })).toMatchObject({ effect: 'mismatch' });
  expect(await ledger.report(foreign, workId, 'failed', { event_id: 'taken' })).toMatchObject({ effect: 'duplicate' });
  expect(await ledger.report(principal, workId, 'completed', { event_id: 'taken' })).toMatchObject({
    effect: 'applied',
  });
  expect((await ledger.workload(workId)).state).toBe('completed');
});

test('records of nobody are kept up to a number a worker and minute, so that noise cannot fill the ledger', async () => {
  const [noisy, quiet] = [await ledger.enrol(), await ledger.enrol()];
  const noise = (worker: WorkerPrincipal, index: number) =>
    recordLifecycle(ledger.db, worker, {
      unreadable: true,
      sha256: index.toString(16).padStart(64, '0'),
      bytes: 7,
      why: 'not_json',
    });
  for (let index = 0; index < STRANGERS_PER_MINUTE; index += 1) {
    expect(await noise(noisy, index)).toEqual({ effect: 'unreadable', wake: null });
  }
  expect(await noise(noisy, 0)).toEqual({ effect: 'rate_limited', wake: null });
  expect(await noise(quiet, 0)).toEqual({ effect: 'unreadable', wake: null });
  // Evidence of its own deliveries is never limited.
  const { workId } = await ledger.delivered({}, { principal: noisy });
  expect(await ledger.report(noisy, workId, 'running')).toMatchObject({ effect: 'applied' });
});
