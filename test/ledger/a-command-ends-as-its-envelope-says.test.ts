import { randomBytes } from 'node:crypto';
import type { ExecutionEnvelope } from '../../contracts/execution';
import type { FinishRequest } from '../../contracts/worker-protocol';
import { evidenceDigest } from '../../domain/execution/reported-end';
import { finishCommand } from '../../ledger/finish-command';
import { renewLease } from '../../ledger/renew-lease';
import { exitedWith, refusedAs } from '../support/envelopes';
import { aRun, FreshLedger, race, refusal, type Delivered, type TestRule } from '../support/fresh-ledger';

const ROUNDS = 16;

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 20 });
});
afterAll(() => ledger.close());

const NODE: TestRule = { executor: 'node' };
const AGAIN: TestRule = { ...NODE, retry: { redeliver_on: ['lost', 'failed'], max_deliveries: 2 } };
const running = async (
  rule: TestRule = NODE,
  given: Parameters<FreshLedger['delivered']>[1] = {},
): Promise<Delivered> => {
  const held = await ledger.delivered(rule, given);
  await renewLease(ledger.db, held.write, { running: true });
  return held;
};
const finish = ({ write }: Pick<Delivered, 'write'>, envelope: ExecutionEnvelope, more: Partial<FinishRequest> = {}) =>
  finishCommand(ledger.db, write, { envelope, ...more });
const executionOf = async (workId: string): Promise<unknown> =>
  JSON.parse((await ledger.deliveries(workId))[0]!.execution ?? 'null');

const STOPPED = { interrupted: 'worker_stopped' } as const;

test.each<[string, ExecutionEnvelope, Partial<FinishRequest>, string, string]>([
  ['exit 0', exitedWith(0), {}, 'completed', 'command_completed'],
  ['exit 1', exitedWith(1), {}, 'failed', 'command_failed'],
  ['a signal', exitedWith(null), {}, 'failed', 'command_failed'],
  ['a refusal', refusedAs('sandbox-command-denied'), {}, 'refused', 'sandbox-command-denied'],
  ['an unknown outcome', refusedAs('delegation-failed', { unknown: true }), {}, 'lost', 'outcome_unknown'],
  ['a worker that stopped', exitedWith(null), STOPPED, 'lost', 'worker_stopped'],
  ['an end just before the worker stopped', exitedWith(0), STOPPED, 'completed', 'command_completed'],
])('%s', async (_what, envelope, more, state, reason) => {
  const held = await running();
  expect(await finish(held, envelope, more)).toMatchObject({ state });
  expect(await ledger.workload(held.workId)).toMatchObject({ state, reason, may_still_run: false });
  expect(await executionOf(held.workId)).toEqual(envelope);
  expect(await ledger.deliveries(held.workId)).toMatchObject([{ status: state, slot_until: null }]);
  const [, exitCode] = /^exitCode:(\d+)$/.exec(envelope.evidence[1]!) ?? [];
  expect((await ledger.audit(held.workId, `workload.${state}`))[0]!.detail).toMatchObject({
    status: envelope.status,
    evidence_sha256: evidenceDigest(envelope),
    exit_code: exitCode === undefined ? null : Number(exitCode),
  });
});

test('what may have run, or failed, runs again only by its rule; what was refused never', async () => {
  for (const [envelope, more, state] of [
    [exitedWith(1), {}, 'queued'],
    [exitedWith(null), STOPPED, 'queued'],
    [refusedAs('delegation-failed', { unknown: true }), {}, 'queued'],
    [refusedAs('no-command'), {}, 'refused'],
  ] as const) {
    const held = await running(AGAIN);
    expect(await finish(held, envelope, more)).toMatchObject({ state });
  }
});

test('what was refused each time is refused; what may have run before is lost', async () => {
  const refused = refusedAs('backend-not-ready');
  const again = async (first: ExecutionEnvelope): Promise<string> => {
    const held = await running();
    await finish(held, first);
    await ledger.operate(held.workId, { action: 'redeliver' });
    const second = await ledger.delivered({}, held);
    return (await finish(second, refused)).state;
  };
  expect(await again(refused)).toBe('refused');
  expect(await again(exitedWith(1))).toBe('lost');
});

test('a repeat is answered and changes nothing, also when the next delivery is under way', async () => {
  const held = await running(AGAIN);
  const envelope = exitedWith(1);
  await finish(held, envelope);
  const rows = (await ledger.audit(held.workId)).length;
  expect(await finish(held, envelope)).toMatchObject({ state: 'queued' });
  expect((await ledger.audit(held.workId)).length).toBe(rows);
  expect(await refusal(finish(held, exitedWith(0)))).toBe('lease.stale');

  const second = await ledger.delivered(AGAIN, { workId: held.workId, principal: held.principal });
  expect(await finish(held, envelope)).toMatchObject({ state: 'delivered' });
  expect(await refusal(finish(held, exitedWith(0)))).toBe('lease.stale');
  expect(await finish(second, exitedWith(0))).toMatchObject({ state: 'completed' });
  expect(await ledger.deliveries(held.workId)).toMatchObject([{ status: 'failed' }, { status: 'completed' }]);
});

test('a worker cannot report another command, backend or profile, nor an end that its evidence does not have', async () => {
  const held = await running();
  const good = exitedWith(0);
  const other = exitedWith(0, { run: aRun({ args: ['other'] }) });
  const changed = (change: (envelope: ExecutionEnvelope) => void): ExecutionEnvelope => {
    const envelope = structuredClone(good);
    change(envelope);
    return envelope;
  };
  for (const envelope of [
    other,
    exitedWith(0, { backend: 'container' }),
    changed((e) => (e.provenance.backendId = 'remote')),
    changed((e) => (e.provenance.attestation.sandboxProfileId = 'readonly')),
    changed((e) => (e.provenance.argvJson = '["echo","do","ne"]')),
    changed((e) => (e.status = 'refused')),
    changed((e) => (e.provenance.outcomeUnknown = true)),
    changed((e) => e.result.evidence.pop()),
    changed((e) => (e.evidence = e.result.evidence = [...e.evidence, 'more:1'])),
    changed((e) => (e.evidence = e.result.evidence = e.evidence.with(1, 'exitCode:1'))),
    changed((e) => (e.status = 'failed')),
    changed((e) => ((e.status = 'failed'), (e.evidence = e.result.evidence = e.evidence.with(1, 'exitCode:00')))),
    changed((e) => (e.evidence = e.result.evidence = e.evidence.with(2, 'stdoutSha256:none'))),
    { ...refusedAs('no-command'), evidence: ['refused:made-up', 'backend:node', 'sandbox:default'] },
  ]) {
    expect(await refusal(finish(held, envelope))).toBe('request.invalid');
  }
  expect(await ledger.workload(held.workId)).toMatchObject({ state: 'running' });
  expect(await executionOf(held.workId)).toBeNull();
  expect(await finish(held, good)).toMatchObject({ state: 'completed' });
});

test('before an intent there is no end to report', async () => {
  const worker = await ledger.enrol();
  const { write } = await ledger.claim(worker, await ledger.admitted({ ...NODE, pool: worker.poolId }));
  expect(await refusal(finish({ write }, refusedAs('no-command')))).toBe('workload.state_conflict');
  const opencrow = await ledger.delivered();
  expect(await refusal(finish(opencrow, exitedWith(0)))).toBe('workload.state_conflict');
});

test('a cancelled command keeps its slot for a minute at most, and frees it when its end is reported', async () => {
  const held = await running();
  await ledger.operate(held.workId, { action: 'cancel' });
  const [delivery] = await ledger.deliveries(held.workId);
  const { now } = await ledger.workload(held.workId);
  expect(delivery!.slot_until!.getTime() - now.getTime()).toBeLessThanOrEqual(60_000);
  expect(delivery!.slot_until!.getTime() - now.getTime()).toBeGreaterThan(30_000);

  const envelope = exitedWith(null);
  expect(await finish(held, envelope)).toMatchObject({ state: 'cancelled' });
  expect(await ledger.workload(held.workId)).toMatchObject({ state: 'cancelled', may_still_run: false });
  expect(await ledger.deliveries(held.workId)).toMatchObject([{ status: 'failed', slot_until: null }]);
  expect(await executionOf(held.workId)).toEqual(envelope);
  expect(await finish(held, envelope)).toMatchObject({ state: 'cancelled' });
  expect(await refusal(finish(held, exitedWith(0)))).toBe('lease.stale');
  expect(await ledger.audit(held.workId, 'workload.command_failed')).toHaveLength(1);
});

test('an end that comes after the lease is refused, and heard as evidence', async () => {
  const held = await running();
  await ledger.outliveLease(held.workId);
  expect(await refusal(finish(held, exitedWith(0)))).toBe('lease.stale');
  await ledger.settle(held.workId);
  expect(await refusal(finish(held, exitedWith(0)))).toBe('lease.stale');
  expect((await ledger.audit(held.workId, 'lease.stale_write_rejected')).map(({ detail }) => detail)).toMatchObject([
    { write: 'finish', why: 'expired' },
    { write: 'finish', why: 'closed' },
  ]);
  expect(await ledger.report(held.principal, held.workId, 'completed')).toMatchObject({ effect: 'corrected' });
  expect(await ledger.workload(held.workId)).toMatchObject({ state: 'completed', corrected: true });
});

test('of sixteen that report an end with tokens of their own, the one that holds the lease is heard', async () => {
  const pool = ledger.unique('pool');
  const workers = await Promise.all(Array.from({ length: 16 }, () => ledger.enrol({ pool })));
  const held = await running(NODE, { principal: workers[5]! });
  const answers = await race(
    workers.map((principal, index) => () => {
      const leaseToken = index === 5 ? held.write.leaseToken : randomBytes(32).toString('base64url');
      return finish({ write: { principal, workId: held.workId, leaseToken } }, exitedWith(index === 5 ? 0 : 1));
    }),
  );
  expect(answers.filter((answer) => answer === 'lease.stale')).toHaveLength(15);
  expect(answers[5]).toMatchObject({ state: 'completed' });
  expect(await ledger.audit(held.workId, 'lease.stale_write_rejected')).toHaveLength(15);
});

test('sixteen reports of the same end at once are one end', async () => {
  const held = await running();
  const envelope = exitedWith(0);
  const answers = await race(Array.from({ length: 16 }, () => () => finish(held, envelope)));
  for (const answer of answers) expect(answer).toMatchObject({ state: 'completed' });
  expect(await ledger.audit(held.workId, 'workload.completed')).toHaveLength(1);
});

test('a cancel that meets an end: one of them decides, and the end is known either way', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 1000 });
  const round = async (index: number): Promise<string> => {
    const held = await running(NODE, { principal: worker });
    const envelope = exitedWith(0);
    const calls = [() => finish(held, envelope), () => ledger.operate(held.workId, { action: 'cancel' })];
    const answers = await race<unknown>(index % 2 ? calls : calls.reverse());
    const { state, may_still_run } = await ledger.workload(held.workId);
    expect(may_still_run).toBe(false);
    expect(await executionOf(held.workId)).toEqual(envelope);
    expect(answers.includes('workload.state_conflict')).toBe(state === 'completed');
    return state;
  };
  const states = await Promise.all(Array.from({ length: ROUNDS }, (_, index) => round(index)));
  for (const state of states) expect(['completed', 'cancelled']).toContain(state);
});

test('a lease that runs out while its end is reported: it is lost and the report refused, or it ended', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 1000 });
  const round = async (index: number): Promise<void> => {
    const held = await running(NODE, { principal: worker });
    const calls = [
      () => finish(held, exitedWith(0)),
      async () => {
        await ledger.outliveLease(held.workId);
        return ledger.settle(held.workId);
      },
    ];
    const answers = await race<unknown>(index % 2 ? calls : calls.reverse());
    const { state } = await ledger.workload(held.workId);
    expect(['lost', 'completed']).toContain(state);
    expect(answers.includes('lease.stale')).toBe(state === 'lost');
    expect((await executionOf(held.workId)) === null).toBe(state === 'lost');
  };
  await Promise.all(Array.from({ length: ROUNDS }, (_, index) => round(index)));
});
