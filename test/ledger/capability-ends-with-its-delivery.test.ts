import fc from 'fast-check';
import { DEFAULT_DEADLINES } from '../../contracts/deadlines';
import type { LifecycleStatus } from '../../contracts/terminology';
import type { Fact } from '../../domain/workload-progress';
import { recordIntent, releaseLease } from '../../ledger/deliveries';
import { revokeCapabilities } from '../../ledger/capability-record';
import { workloadRecordOf } from '../../ledger/queries';
import type { WorkerPrincipal } from '../../ledger/workers';
import { askFor, grantOf, verdictOf } from '../support/capabilities';
import { FreshLedger, intentKey, race, refusal } from '../support/fresh-ledger';
import { LedgerModel } from '../support/ledger-model';

let ledger: FreshLedger;
let worker: WorkerPrincipal;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
  worker = await ledger.enrol({ maxOpenDeliveries: 1000 });
});
afterAll(() => ledger.close());

const GRANTS = [
  grantOf({ literals: ['a'], max_uses: 2 }),
  grantOf({ operations: ['show', 'list'], literals: [], globs: ['a*'], max_uses: 1 }),
  grantOf({ hook: 'store', kind: 'mutation', operations: ['put'], literals: ['a'], max_uses: 1 }),
];
/** What is asked for in the stories, and which grants it fits. */
const ASKED = [
  { hook: 'ctx', kind: 'context', operation: 'show', resource: 'a', fits: [0, 1] },
  { hook: 'ctx', kind: 'context', operation: 'list', resource: 'ab', fits: [1] },
  { hook: 'store', kind: 'mutation', operation: 'put', resource: 'a', fits: [2] },
  { hook: 'store', kind: 'context', operation: 'put', resource: 'a', why: 'operation_not_granted' },
  { hook: 'ctx', kind: 'context', operation: 'put', resource: 'a', why: 'operation_not_granted' },
  { hook: 'ctx', kind: 'context', operation: 'show', resource: 'b', why: 'resource_not_granted' },
] as const;

interface ModelToken {
  token: string;
  state: 'active' | 'suspended' | 'closed';
  uses: number[];
  keys: Map<string, { asked: number; grant: number; use: number }>;
  refused: number;
}

/** One workload in the ledger, beside the simplest account of what its tokens may do. */
class Story {
  readonly tokens = new Map<number, ModelToken>();
  private revoked = false;

  private constructor(
    readonly workId: string,
    readonly model: LedgerModel,
  ) {}

  static async begin(): Promise<Story> {
    const retry = { redeliver_on: ['lost' as const], max_deliveries: 2 };
    const workId = await ledger.admitted({ pool: worker.poolId, grants: GRANTS, retry });
    const terms = {
      deadlines: DEFAULT_DEADLINES,
      hold: { deadline: 0, then: 'deny' as const },
      redeliverOn: retry.redeliver_on,
      maxDeliveries: 2,
    };
    return new Story(workId, new LedgerModel(terms));
  }

  async deliver(): Promise<void> {
    if (this.model.claim(0) !== 'ok') return;
    this.model.intent(0);
    const { claim, write } = await ledger.claim(worker, this.workId, { executorRestarted: true });
    await recordIntent(ledger.db, write, intentKey());
    expect(claim.capability === undefined).toBe(this.revoked);
    if (claim.capability) {
      const { token } = claim.capability;
      this.tokens.set(claim.delivery_number, { token, state: 'active', uses: [0, 0, 0], keys: new Map(), refused: 0 });
    }
    this.follow();
  }

  async report(number: number, status: LifecycleStatus): Promise<void> {
    const event_id = ledger.unique('told');
    await ledger.report(worker, this.workId, status, { number, event_id });
    this.model.lifecycle(0, { number, status, event_id, mismatching: false });
    this.follow();
  }

  async deadline(): Promise<void> {
    await ledger.elapse(this.workId);
    await ledger.settle(this.workId);
    this.model.elapse();
    this.follow();
  }

  async operate(action: 'cancel' | 'redeliver', fact: Fact): Promise<void> {
    await ledger.operate(this.workId, { action }).catch(() => undefined);
    this.model.operate(fact);
    this.follow();
  }

  async revoke(): Promise<void> {
    const order = { tenantId: 'default', workloadId: this.workId, actor: 'test', reason: 'enough' };
    await ledger.db.transaction((tx) => revokeCapabilities(tx, order));
    this.revoked = true;
    for (const each of this.tokens.values()) each.state = 'closed';
  }

  async use(number: number, asked: number, key?: string): Promise<void> {
    const known = this.tokens.get(number);
    if (!known) return;
    const { hook, kind, operation, resource } = ASKED[asked]!;
    const request = { hook, kind, operation, resource, ...(key && { idempotency_key: key }) };
    const answer = await askFor(ledger, known.token, request);
    const expected = this.expected(number, known, asked, key);
    if (!('use' in expected)) known.refused += 1;
    expect('use' in expected ? answer : verdictOf(answer)).toEqual(
      'use' in expected ? expect.objectContaining({ allowed: true, ...expected }) : expected.why,
    );
  }

  private expected(
    number: number,
    known: ModelToken,
    asked: number,
    key: string | undefined,
  ): { why: string } | { use: number; remaining: number } {
    const given = ASKED[asked]!;
    if (number < this.model.progress.delivery) return { why: 'wrong_delivery' };
    if (known.state !== 'active') return { why: known.state };
    if ('why' in given) return { why: given.why };
    const answerOf = (grant: number, use: number) => ({ use, remaining: GRANTS[grant]!.max_uses - use });
    const before = key === undefined ? undefined : known.keys.get(key);
    if (before) {
      return before.asked === asked ? answerOf(before.grant, before.use) : { why: 'idempotency_conflict' };
    }
    const grant = given.fits.find((each) => known.uses[each]! < GRANTS[each]!.max_uses);
    if (grant === undefined) return { why: 'exhausted' };
    known.uses[grant]! += 1;
    if (key !== undefined) known.keys.set(key, { asked, grant, use: known.uses[grant]! });
    return answerOf(grant, known.uses[grant]!);
  }

  /** Closed is for ever; else a token lives while its delivery is the one that is awaited. */
  private follow(): void {
    const { state, delivery } = this.model.progress;
    for (const [number, token] of this.tokens) {
      if (token.state === 'closed') continue;
      const present = number === delivery;
      token.state =
        present && (state === 'delivered' || state === 'running')
          ? 'active'
          : present && state === 'preempted'
            ? 'suspended'
            : 'closed';
    }
  }

  /** The record shows what the model has, and each attempt has left its row. */
  async check(): Promise<void> {
    const { capabilities } = (await workloadRecordOf(ledger.db, 'default', this.workId))!;
    expect(capabilities!.deliveries).toMatchObject(
      [...this.tokens].map(([number, { state, uses, refused }]) => ({
        number,
        state,
        refused,
        grants: uses.map((used, grant) => ({
          number: grant + 1,
          uses: used,
          remaining: GRANTS[grant]!.max_uses - used,
        })),
      })),
    );
    for (const each of capabilities!.deliveries) expect(each.close_reason === null).toBe(each.state !== 'closed');
    const all = [...this.tokens.values()];
    const used = all.flatMap(({ uses }) => uses).reduce((sum, uses) => sum + uses, 0);
    expect(await ledger.audit(this.workId, 'capability.used')).toHaveLength(used);
    const refused = all.reduce((sum, token) => sum + token.refused, 0);
    expect(await ledger.audit(this.workId, 'capability.refused')).toHaveLength(refused);
  }
}

type Step = (story: Story) => Promise<void>;
const named = (name: unknown[], play: Step): Step =>
  Object.assign(play, { [fc.toStringMethod]: () => name.map((part) => JSON.stringify(part)).join(' ') });

const number = fc.constantFrom(1, 1, 2, 3);
const uses = fc
  .tuple(number, fc.nat(ASKED.length - 1), fc.constantFrom(undefined, undefined, 'k1', 'k2'))
  .map(([of, asked, key]) => named(['use', of, asked, key], (story) => story.use(of, asked, key)));
const reports = fc
  .tuple(number, fc.constantFrom<LifecycleStatus>('running', 'running', 'preempted', 'completed', 'failed'))
  .map(([of, status]) => named(['report', of, status], (story) => story.report(of, status)));
const step = fc.oneof(
  { arbitrary: uses, weight: 14 },
  { arbitrary: reports, weight: 4 },
  { arbitrary: fc.constant(named(['deliver'], (story) => story.deliver())), weight: 4 },
  { arbitrary: fc.constant(named(['deadline'], (story) => story.deadline())), weight: 1 },
  { arbitrary: fc.constant(named(['cancel'], (story) => story.operate('cancel', { type: 'cancelled' }))), weight: 1 },
  {
    arbitrary: fc.constant(named(['redeliver'], (story) => story.operate('redeliver', { type: 'redelivered' }))),
    weight: 2,
  },
  { arbitrary: fc.constant(named(['revoke'], (story) => story.revoke())), weight: 1 },
);

test('in whatever order work goes on and hooks ask, each token allows what the model allows', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 30, size: 'max' }), async (steps) => {
      const story = await Story.begin();
      await story.deliver();
      for (const each of steps) await each(story);
      await story.check();
    }),
    { numRuns: 40 },
  );
});

test('a use that comes with the end of the work is allowed before it or refused after it', async () => {
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      const { claim, workId, principal } = await ledger.delivered({ grants: [grantOf()] });
      const { token } = claim.capability!;
      const [verdict] = await race([
        async () => verdictOf(await askFor(ledger, token)),
        () => ledger.report(principal, workId, 'completed').then(() => 'told'),
      ]);
      expect(['allowed', 'closed']).toContain(verdict);
      expect(verdictOf(await askFor(ledger, token))).toBe('closed');
      const types = (await ledger.audit(workId)).map(({ type }) => type);
      const [used, closed] = [types.indexOf('capability.used'), types.indexOf('capability.closed')];
      expect(used === -1 || used < closed).toBe(true);
    }),
  );
});

test('a repeated claim, and a delivery that was never made, kill the token of the one before', async () => {
  const principal = await ledger.enrol();
  const workId = await ledger.admitted({ pool: principal.poolId, grants: [grantOf()] });
  const first = await ledger.claim(principal, workId, { claimKey: 'the-key-of-this-attempt' });
  expect(verdictOf(await askFor(ledger, first.claim.capability!.token))).toBe('closed');
  const again = await ledger.claim(principal, workId, { claimKey: 'the-key-of-this-attempt' });
  await recordIntent(ledger.db, again.write, intentKey());
  expect(verdictOf(await askFor(ledger, first.claim.capability!.token))).toBe('unknown');
  expect(verdictOf(await askFor(ledger, again.claim.capability!.token))).toBe('allowed');

  await releaseLease(ledger.db, again.write, 'EPIPE');
  expect(verdictOf(await askFor(ledger, again.claim.capability!.token))).toBe('closed');
  const third = await ledger.delivered({}, { principal, workId });
  expect(third.intent.delivery_number).toBe(1);
  expect(verdictOf(await askFor(ledger, again.claim.capability!.token))).toBe('unknown');
  // Counts belong to the delivery: what was used under its number stays used.
  expect(await askFor(ledger, third.claim.capability!.token)).toMatchObject({ allowed: true, use: 2 });
});

test('a capability ends with its time and with the deadline of its delivery, whichever is first', async () => {
  const short = await ledger.delivered({ grants: [grantOf({ ttl: 1000 }), grantOf({ operations: ['list'] })] });
  const { token } = short.claim.capability!;
  const allowed = await askFor(ledger, token, { operation: 'list' });
  expect(allowed.allowed && new Date(allowed.expires_at)).toEqual((await ledger.workload(short.workId)).deadline_at);

  const later = (seconds: number): Promise<unknown> =>
    ledger.db.query(
      `UPDATE capability_tokens SET active_since = active_since - $2::float8 * interval '1 second',
         deadline_at = deadline_at - $2::float8 * interval '1 second' WHERE workload_id = $1`,
      [short.workId, seconds],
    );
  await later(2);
  expect(verdictOf(await askFor(ledger, token))).toBe('expired');
  expect(verdictOf(await askFor(ledger, token, { operation: 'list' }))).toBe('allowed');
  await later(DEFAULT_DEADLINES.start / 1000);
  expect(verdictOf(await askFor(ledger, token, { operation: 'list' }))).toBe('expired');
  const { capabilities } = (await workloadRecordOf(ledger.db, 'default', short.workId))!;
  expect(capabilities!.deliveries).toMatchObject([{ state: 'closed', close_reason: 'expired' }]);
});

test('what a late report makes of a lost delivery opens nothing again', async () => {
  const { claim, workId, principal } = await ledger.delivered({ grants: [grantOf()] });
  await ledger.elapse(workId);
  expect((await ledger.settle(workId)).state).toBe('lost');
  expect(verdictOf(await askFor(ledger, claim.capability!.token))).toBe('closed');
  await ledger.report(principal, workId, 'completed');
  expect(await ledger.workload(workId)).toMatchObject({ state: 'completed', corrected: true });
  expect(verdictOf(await askFor(ledger, claim.capability!.token))).toBe('closed');
  expect(await ledger.audit(workId, 'capability.closed')).toMatchObject([{ detail: { reason: 'start_deadline' } }]);
});

test('revoked is for good: no later delivery gets a token, and nobody else may revoke', async () => {
  const { claim, workId, principal } = await ledger.delivered({ grants: [grantOf()] });
  const order = { tenantId: 'default', workloadId: workId, actor: 'token:op', reason: 'strange calls' };
  const other = { ...order, tenantId: await ledger.tenant() };
  expect(await refusal(ledger.db.transaction((tx) => revokeCapabilities(tx, other)))).toBe('not_found');
  expect(verdictOf(await askFor(ledger, claim.capability!.token))).toBe('allowed');

  const revoked = await ledger.db.transaction((tx) => revokeCapabilities(tx, order));
  expect(revoked).toMatchObject({
    revoked: { by: 'token:op', reason: 'strange calls' },
    deliveries: [{ state: 'closed', close_reason: 'revoked' }],
  });
  expect(verdictOf(await askFor(ledger, claim.capability!.token))).toBe('closed');
  const again = await ledger.db.transaction((tx) => revokeCapabilities(tx, { ...order, reason: 'once more' }));
  expect(again.revoked!.reason).toBe('strange calls');
  expect(await ledger.audit(workId, 'capability.revoked')).toHaveLength(1);

  await ledger.report(principal, workId, 'failed');
  await ledger.operate(workId, { action: 'redeliver' });
  expect((await ledger.claim(principal, workId)).claim).not.toHaveProperty('capability');
});

test('nothing is minted when nothing is granted', async () => {
  const { claim, workId } = await ledger.delivered();
  expect(claim).not.toHaveProperty('capability');
  expect((await workloadRecordOf(ledger.db, 'default', workId))!.capabilities).toBeNull();
});

test.each([
  ['completed', 'closed'],
  ['preempted', 'suspended'],
  ['queued', 'closed'],
])('a workload that a process of an older version made %s leaves no token open', async (state, verdict) => {
  const { claim, workId } = await ledger.delivered({ grants: [grantOf()] });
  await ledger.db.query('UPDATE workloads SET state = $2 WHERE workload_id = $1', [workId, state]);
  expect(verdictOf(await askFor(ledger, claim.capability!.token))).toBe(verdict);
});
