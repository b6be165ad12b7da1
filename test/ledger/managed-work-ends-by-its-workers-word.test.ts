import { releaseLease } from '../../ledger/deliveries';
import { finishCommand } from '../../ledger/finish-command';
import { renewLease } from '../../ledger/renew-lease';
import { verifyStories } from '../../ledger/verify/stories';
import { workloadRecordOf } from '../../ledger/queries';
import { reportRun } from '../../ledger/work-writes/run-status';
import type { Finding } from '../../domain/finding';
import { exitedWith } from '../support/envelopes';
import { FreshLedger, problemOf, refusal, type Delivered, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const MANAGED: TestRule = { executor: 'managed' };
const begun = async (rule: TestRule = {}): Promise<Delivered> => {
  const held = await ledger.delivered({ ...MANAGED, ...rule });
  await reportRun(ledger.db, held.write, { status: 'running' });
  return held;
};
const findings = async (workId: string): Promise<Finding[]> => {
  const found: Finding[] = [];
  await verifyStories(
    ledger.db,
    (finding) => found.push(finding),
    () => undefined,
  );
  return found.filter((finding) => finding.workload_id === workId);
};

test('a claim carries event and trigger and no command, and the lease lives by renewals', async () => {
  const held = await ledger.delivered(MANAGED);
  expect(held.claim).toMatchObject({ executor: 'managed', event: { source: 'rss' }, trigger: { prompt: null } });
  expect(held.claim).not.toHaveProperty('run');
  expect(held.intent.ttl_ms).toBe(30_000);
  const { answer, wake } = await renewLease(ledger.db, held.write, { running: true });
  expect(answer.state).toBe('running');
  expect(wake).toMatchObject({ state: 'running' });
  expect(await reportRun(ledger.db, held.write, { status: 'running' })).toMatchObject({ wake: null });
  expect(await ledger.settle(held.workId)).toMatchObject({ next: 'wait', lease_ms: expect.any(Number) });
});

test.each([
  ['completed', 'completed'],
  ['failed', 'failed'],
  ['cancelled', 'aborted'],
] as const)('an end %s decides the workload once: %s', async (status, state) => {
  const held = await begun();
  const report = { status, code: 'all_done', summary: 'nothing to say' };
  const { answer, wake } = await reportRun(ledger.db, held.write, report);
  expect(answer).toEqual({ state, wait_ms: null });
  expect(wake).toMatchObject({ state, reason: `run_${status}` });
  const before = await ledger.audit(held.workId);
  expect(before).toContainEqual(
    expect.objectContaining({
      type: `workload.${state}`,
      detail: expect.objectContaining({ status, code: 'all_done' }),
    }),
  );
  expect(JSON.stringify(before)).not.toContain('nothing to say');
  expect(await ledger.lease(held.workId)).toMatchObject({ status });

  expect(await reportRun(ledger.db, held.write, report)).toEqual({ answer, wake: null });
  const other = await problemOf(
    reportRun(ledger.db, held.write, { status: status === 'failed' ? 'completed' : 'failed' }),
  );
  expect(other).toMatchObject({ code: 'workload.state_conflict', extra: { kept_status: status } });
  expect(await refusal(reportRun(ledger.db, held.write, { ...report, summary: 'more' }))).toBe(
    'idempotency.content_mismatch',
  );
  expect(await ledger.audit(held.workId)).toEqual(before);
  const record = await workloadRecordOf(ledger.db, 'default', held.workId);
  expect(record!.deliveries).toMatchObject([
    { status: state, run: { status, code: 'all_done', summary: 'nothing to say' } },
  ]);
  expect(await findings(held.workId)).toEqual([]);
});

test('an end is believed of work whose beginning was not told, and nothing is given back after it', async () => {
  const held = await ledger.delivered(MANAGED);
  await reportRun(ledger.db, held.write, { status: 'completed' });
  expect(await ledger.deliveries(held.workId)).toMatchObject([{ write: 'written', slot_until: null }]);
  expect(await refusal(releaseLease(ledger.db, held.write, 'draining'))).toBe('workload.state_conflict');
});

test('a lease that nobody renews is the end of the delivery, and the rule decides about another', async () => {
  const lost = await begun();
  await ledger.outliveLease(lost.workId);
  expect(await refusal(reportRun(ledger.db, lost.write, { status: 'completed' }))).toBe('lease.stale');
  expect(await ledger.settle(lost.workId)).toMatchObject({ state: 'lost', reason: 'lease_expired' });
  expect(await findings(lost.workId)).toEqual([]);

  const again = await begun({ retry: { redeliver_on: ['lost', 'failed'], max_deliveries: 3 } });
  await ledger.outliveLease(again.workId);
  expect(await ledger.settle(again.workId)).toMatchObject({ state: 'queued', next: 'offer' });
  const second = await ledger.delivered({}, { principal: again.principal, workId: again.workId });
  expect(second.claim).toMatchObject({ epoch: 2, delivery_id: `${again.workId}~2` });
  const failed = await reportRun(ledger.db, second.write, { status: 'failed' });
  expect(failed.answer.state).toBe('queued');
  expect(await reportRun(ledger.db, second.write, { status: 'failed' })).toMatchObject({ answer: { state: 'queued' } });
  expect(await refusal(reportRun(ledger.db, again.write, { status: 'completed' }))).toBe('lease.stale');
});

test('after a cancel the end is still heard, once, and frees the slot', async () => {
  const held = await begun();
  await ledger.operate(held.workId, { action: 'cancel' });
  const problem = await problemOf(renewLease(ledger.db, held.write, {}));
  expect(problem).toMatchObject({ code: 'lease.stale', extra: { staleness: 'closed' } });
  expect(await refusal(reportRun(ledger.db, held.write, { status: 'running' }))).toBe('lease.stale');
  const { answer } = await reportRun(ledger.db, held.write, { status: 'cancelled' });
  expect(answer.state).toBe('cancelled');
  expect(await ledger.workload(held.workId)).toMatchObject({ state: 'cancelled', may_still_run: false });
  expect(await ledger.deliveries(held.workId)).toMatchObject([{ status: 'aborted', slot_until: null }]);
  expect(await findings(held.workId)).toEqual([]);
});

test('neither kind of work ends as the other does, nor before its intent', async () => {
  const managed = await begun();
  expect(await refusal(finishCommand(ledger.db, managed.write, { envelope: exitedWith(0) }))).toBe(
    'workload.state_conflict',
  );
  const command = await ledger.delivered({ executor: 'node' });
  expect(await refusal(reportRun(ledger.db, command.write, { status: 'completed' }))).toBe('workload.state_conflict');
  const worker = await ledger.enrol();
  const { write } = await ledger.claim(worker, await ledger.admitted({ ...MANAGED, pool: worker.poolId }));
  expect(await refusal(reportRun(ledger.db, write, { status: 'completed' }))).toBe('workload.state_conflict');
});
