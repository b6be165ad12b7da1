import type { ExecutionHandle } from '../../contracts/execution';
import type { ExecutorKind } from '../../contracts/terminology';
import { noteCapacity } from '../../ledger/capacity';
import { claim } from '../../ledger/claims';
import { runsOver } from '../../ledger/command-runs';
import { releaseLease } from '../../ledger/deliveries';
import { finishCommand } from '../../ledger/finish-command';
import { renewLease } from '../../ledger/renew-lease';
import { wakeAbandoned } from '../../ledger/sweeps';
import { heartbeat } from '../../ledger/worker-heartbeat';
import { listWorkers } from '../../ledger/worker-list';
import type { WorkloadRow } from '../../ledger/workload-row';
import { runKeyOf } from '../../contracts/names';
import { Secret } from '../../contracts/secret';
import { runnerCallbackSecret } from '../../domain/webhooks/secrets';
import { askFor, grantOf, verdictOf } from '../support/capabilities';
import { exitedWith } from '../support/envelopes';
import { aRun, FreshLedger, refusal, type Delivered, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const NODE: TestRule = { executor: 'node' };
const RERUNNABLE: TestRule = { ...NODE, retry: { redeliver_on: ['lost'], max_deliveries: 2 } };
const REMOTE: TestRule = { executor: 'remote', run: { endpoint: 'https://runner/jobs' } };
const jobOf = (id: string): ExecutionHandle => ({
  kind: 'remote',
  ref: 'https://runner/jobs',
  endpoint: 'https://runner/jobs',
  metadata: { runnerJobId: id },
});
const msLeft = async (workId: string): Promise<number> => {
  const lease = await ledger.lease(workId);
  return lease!.expires_at.getTime() - lease!.now.getTime();
};
const renew = ({ write }: Delivered, fields: { running?: boolean; target?: ExecutionHandle } = {}) =>
  renewLease(ledger.db, write, fields);

test('a claim says what is to be run, and the intent begins a short lease that only renewals prolong', async () => {
  const held = await ledger.delivered(NODE);
  expect(held.claim).toMatchObject({ executor: 'node', run: aRun() });
  expect(held.claim).not.toHaveProperty('resume');
  expect(held.intent.ttl_ms).toBe(30_000);
  expect(await msLeft(held.workId)).toBeLessThanOrEqual(30_000);

  const { answer, wake } = await renew(held, { running: true });
  expect(answer).toMatchObject({ state: 'running' });
  expect(wake).toMatchObject({ state: 'running' });
  expect(await msLeft(held.workId)).toBeLessThanOrEqual(30_000);
  expect(await ledger.deliveries(held.workId)).toMatchObject([{ status: 'running', write: 'written' }]);

  const rows = (await ledger.audit(held.workId)).length;
  await ledger.db.query("UPDATE leases SET expires_at = expires_at - interval '20 seconds' WHERE work_id = $1", [
    held.workId,
  ]);
  expect(await renew(held, { running: true })).toMatchObject({ answer: { state: 'running' }, wake: null });
  expect(await msLeft(held.workId)).toBeGreaterThan(20_000);
  expect((await ledger.audit(held.workId)).length).toBe(rows);
  expect(await ledger.settle(held.workId)).toMatchObject({
    state: 'running',
    next: 'wait',
    lease_ms: expect.any(Number),
  });
});

test('evidence that it runs prolongs no lease', async () => {
  const held = await ledger.delivered(NODE);
  expect(await ledger.report(held.principal, held.workId, 'running')).toMatchObject({ state: 'running' });
  expect(await msLeft(held.workId)).toBeLessThanOrEqual(30_000);
});

test('no lease lives past the deadline of its workload', async () => {
  const held = await ledger.delivered({ ...NODE, deadlines: { start: 5_000, run: 2_000 } });
  expect(held.intent.ttl_ms).toBeLessThanOrEqual(5_000);
  const { answer } = await renew(held, { running: true });
  expect(answer.ttl_ms).toBeLessThanOrEqual(2_000);
  await ledger.elapse(held.workId);
  await ledger.outliveLease(held.workId);
  expect(await refusal(renew(held))).toBe('lease.stale');
  expect(await ledger.settle(held.workId)).toMatchObject({ state: 'lost', reason: 'run_deadline' });
});

test('a command whose lease ran out is lost, its slot is free, and it runs again only by its rule', async () => {
  for (const [rule, state] of [
    [NODE, 'lost'],
    [RERUNNABLE, 'queued'],
  ] as const) {
    const held = await ledger.delivered(rule);
    await renew(held, { running: true });
    await ledger.outliveLease(held.workId);
    await ledger.db.query('UPDATE workloads SET wake_sent = wake_seq');
    expect(await wakeAbandoned(ledger.db, 0)).toBe(1);
    const view = await ledger.settle(held.workId);
    expect(view).toMatchObject({ state, reason: 'lease_expired' });
    expect(view).not.toHaveProperty('lease_ms');
    expect(await ledger.deliveries(held.workId)).toMatchObject([{ status: 'lost', slot_until: null }]);
    expect((await ledger.audit(held.workId, 'workload.lost')).map(({ detail }) => detail)).toMatchObject([
      { from: 'running', reason: 'lease_expired', delivery: 1 },
    ]);
    expect(await refusal(renew(held))).toBe('lease.stale');
    const again = claim(ledger.db, held.principal, held.workId);
    if (state === 'lost') expect(await refusal(again)).toBe('workload.not_needed');
    else expect(await again).toMatchObject({ delivery_number: 2, epoch: 2 });
  }
});

test('a lease that is over is not renewed, whoever has it', async () => {
  const held = await ledger.delivered(NODE);
  await ledger.outliveLease(held.workId);
  expect(await refusal(renew(held))).toBe('lease.stale');
  expect((await ledger.audit(held.workId, 'lease.stale_write_rejected'))[0]).toMatchObject({
    detail: { write: 'renew', why: 'expired' },
  });
  const cancelled = await ledger.delivered(NODE);
  await ledger.operate(cancelled.workId, { action: 'cancel' });
  expect(await refusal(renew(cancelled))).toBe('lease.stale');
  expect(await ledger.audit(cancelled.workId, 'lease.stale_write_rejected')).toEqual([]);
  const opencrow = await ledger.delivered();
  expect(await refusal(renew(opencrow))).toBe('workload.state_conflict');
  const paused = await ledger.delivered(NODE);
  const principal = { ...paused.principal, status: 'paused' as const };
  const whilePaused = () => refusal(renewLease(ledger.db, { ...paused.write, principal }, {}));
  expect(await whilePaused()).toBe('worker.paused');
  await ledger.operate(paused.workId, { action: 'cancel' });
  expect(await whilePaused()).toBe('lease.stale');
});

test('the job of a runner is kept once, and no other can take its place', async () => {
  const held = await ledger.delivered(REMOTE);
  await renew(held, { target: jobOf('j-1') });
  await renew(held, { target: jobOf('j-1'), running: true });
  expect(await refusal(renew(held, { target: jobOf('j-2') }))).toBe('workload.state_conflict');
  const huge = { ...jobOf('j-1'), metadata: { runnerJobId: 'j-1', more: 'x'.repeat(20_000) } };
  expect(await refusal(renew(held, { target: huge }))).toBe('request.invalid');
  const [delivery] = await ledger.deliveries(held.workId);
  expect(JSON.parse(delivery!.target!)).toEqual(jobOf('j-1'));
  expect(await ledger.audit(held.workId, 'delivery.target_known')).toHaveLength(1);
});

test('what was not started is given back, what was started is not', async () => {
  const early = await ledger.delivered(NODE);
  expect(await releaseLease(ledger.db, early.write, 'draining')).toMatchObject({ state: 'queued' });
  const started = await ledger.delivered(NODE);
  await renew(started, { running: true });
  expect(await refusal(releaseLease(ledger.db, started.write, 'draining'))).toBe('workload.state_conflict');
});

test('another worker goes on waiting for a known job: the same delivery, a new epoch, no intent', async () => {
  const pool = ledger.unique('pool');
  const [first, second] = [await ledger.enrol({ pool }), await ledger.enrol({ pool })];
  const held = await ledger.delivered(REMOTE, { principal: first });
  await renew(held, { running: true, target: jobOf('j-7') });
  expect(await refusal(claim(ledger.db, second, held.workId))).toBe('lease.held');

  await ledger.outliveLease(held.workId);
  expect(await ledger.settle(held.workId)).toMatchObject({ state: 'running', next: 'offer', delivery: 1 });
  await ledger.db.query('UPDATE workloads SET wake_sent = wake_seq');
  await wakeAbandoned(ledger.db, 0);
  const { wake_seq, wake_sent } = (await ledger.workload(held.workId)) as WorkloadRow & { wake_sent: string };
  expect(wake_seq).toBe(wake_sent);
  const taken = await ledger.claim(second, held.workId);
  expect(taken.claim).toMatchObject({
    epoch: 2,
    delivery_number: 1,
    delivery_id: held.workId,
    resume: { target: jobOf('j-7') },
  });
  expect(taken.claim).not.toHaveProperty('capability');
  expect(await ledger.settle(held.workId)).toMatchObject({ state: 'running', next: 'wait' });
  expect(await refusal(renew(held))).toBe('lease.stale');
  const envelope = exitedWith(0, { backend: 'remote', run: aRun(REMOTE.run) });
  expect(await refusal(finishCommand(ledger.db, held.write, { envelope }))).toBe('lease.stale');
  expect(await finishCommand(ledger.db, taken.write, { envelope })).toMatchObject({ state: 'completed' });
  expect(await ledger.deliveries(held.workId)).toMatchObject([{ number: 1, worker_id: second.workerId }]);
});

test('the capability token that a job has keeps working while nobody waits for it, and after it was taken over', async () => {
  const pool = ledger.unique('pool');
  const [first, second] = [await ledger.enrol({ pool }), await ledger.enrol({ pool })];
  const held = await ledger.delivered({ ...REMOTE, grants: [grantOf()] }, { principal: first });
  const token = held.claim.capability!.token;
  const ask = async () => verdictOf(await askFor(ledger, token));
  await renew(held, { running: true, target: jobOf('j-9') });
  expect(await ask()).toBe('allowed');
  await ledger.outliveLease(held.workId);
  await ledger.settle(held.workId);
  expect(await ask()).toBe('allowed');
  const { claim: taken, write } = await ledger.claim(second, held.workId);
  expect(taken).not.toHaveProperty('capability');
  expect(await ask()).toBe('allowed');
  const envelope = exitedWith(0, { backend: 'remote', run: aRun(REMOTE.run) });
  await finishCommand(ledger.db, write, { envelope });
  expect(await ask()).not.toBe('allowed');
});

test('a job is handed on at once by a worker that stops, and not past the deadline of its run', async () => {
  const pool = ledger.unique('pool');
  const [first, second] = [await ledger.enrol({ pool }), await ledger.enrol({ pool })];
  const held = await ledger.delivered(REMOTE, { principal: first });
  await renew(held, { running: true, target: jobOf('j-8') });
  expect(await releaseLease(ledger.db, held.write, 'draining')).toMatchObject({ state: 'running' });
  expect(await ledger.settle(held.workId)).toMatchObject({ next: 'offer' });
  const { write } = await ledger.claim(second, held.workId);
  await releaseLease(ledger.db, write, 'draining');
  await ledger.elapse(held.workId);
  expect(await refusal(claim(ledger.db, first, held.workId))).toBe('workload.not_needed');
  expect(await ledger.settle(held.workId)).toMatchObject({ state: 'lost', reason: 'run_deadline' });
});

test('while a worker holds a command no other of its pool can say that it has ended', async () => {
  const pool = ledger.unique('pool');
  const [holder, other] = [await ledger.enrol({ pool }), await ledger.enrol({ pool })];
  const held = await ledger.delivered(NODE, { principal: holder });
  await renew(held, { running: true });
  expect(await ledger.report(other, held.workId, 'completed')).toMatchObject({ effect: 'mismatch', wake: null });
  expect((await ledger.workload(held.workId)).state).toBe('running');
  expect(await ledger.report(holder, held.workId, 'completed')).toMatchObject({
    effect: 'applied',
    state: 'completed',
  });
});

test('a job that nobody waits for takes no slot: its worker, back with other work first, would wait for itself', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 1 });
  const job = await ledger.delivered(REMOTE, { principal: worker });
  await renew(job, { running: true, target: jobOf('j-10') });
  expect(await refusal(ledger.delivered(REMOTE, { principal: worker }))).toBe('capacity.worker');
  await ledger.outliveLease(job.workId);
  const other = await ledger.delivered(REMOTE, { principal: worker });
  expect(await refusal(claim(ledger.db, worker, job.workId))).toBe('capacity.worker');
  await finishCommand(ledger.db, other.write, {
    envelope: exitedWith(0, { backend: 'remote', run: aRun(REMOTE.run) }),
  });
  const { claim: resumed } = await ledger.claim(worker, job.workId);
  expect(resumed).toHaveProperty('resume');
  expect(await refusal(ledger.delivered(REMOTE, { principal: worker }))).toBe('capacity.worker');
});

test('without a known job nothing is taken over', async () => {
  const held = await ledger.delivered(REMOTE);
  await renew(held, { running: true });
  await ledger.outliveLease(held.workId);
  expect(await refusal(claim(ledger.db, held.principal, held.workId))).toBe('delivery.maybe_written');
  expect(await ledger.settle(held.workId)).toMatchObject({ state: 'lost', reason: 'lease_expired' });
});

test('a runner is told where to call only when its rule wants it and something can be signed', async () => {
  const signingKey = () => new Secret('k'.repeat(32));
  const worker = await ledger.enrol({ maxOpenDeliveries: 10 });
  const claimed = async (rule: TestRule, options: object) =>
    claim(ledger.db, worker, await ledger.admitted({ ...rule, pool: worker.poolId }), options);
  const webhook: TestRule = { ...REMOTE, run: { ...REMOTE.run, completion: 'webhook' } };
  const told = await claimed(webhook, { signingKey });
  expect(told.runner_callback).toEqual({
    path: `/api/runner-callbacks/${told.work_id}`,
    secret: runnerCallbackSecret(signingKey(), told.work_id).reveal(),
  });
  expect(await claimed(webhook, {})).not.toHaveProperty('runner_callback');
  expect(await claimed(REMOTE, { signingKey })).not.toHaveProperty('runner_callback');
  expect(await claimed({ ...NODE, run: { completion: 'webhook' } }, { signingKey })).not.toHaveProperty(
    'runner_callback',
  );
});

test('each executor has slots of its own, and a suspect slot holds up OpenCrow alone', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 1 });
  const opencrow = await ledger.delivered({}, { principal: worker });
  const node = await ledger.delivered(NODE, { principal: worker });
  expect(await refusal(ledger.delivered(NODE, { principal: worker }))).toBe('capacity.worker');
  await ledger.elapse(opencrow.workId);
  expect(await ledger.settle(opencrow.workId)).toMatchObject({ state: 'lost' });
  expect(await refusal(ledger.delivered({}, { principal: worker }))).toBe('capacity.suspect');
  await ledger.report(worker, node.workId, 'completed');
  await ledger.delivered(NODE, { principal: worker });
  await ledger.db.query("UPDATE workers SET executors = '{opencrow}' WHERE worker_id = $1", [worker.workerId]);
  expect(await refusal(ledger.delivered(NODE, { principal: worker }))).toBe('worker.incompatible');
});

test('a command is served only by a worker that offers its backend', async () => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ ...NODE, pool: worker.poolId });
  const reasonAfter = async (executors: ExecutorKind[] | undefined): Promise<string> => {
    await heartbeat(ledger.db, worker, { executors });
    await noteCapacity(ledger.db, 0);
    return (await ledger.workload(workId)).reason;
  };
  expect(await reasonAfter(undefined)).toBe('no_capacity');
  expect(await reasonAfter(['node', 'ci'])).toBe('waiting_for_worker');
  expect(await listWorkers(ledger.db)).toContainEqual(
    expect.objectContaining({ worker_id: worker.workerId, executors: ['node', 'ci'] }),
  );
  expect(await reasonAfter(['opencrow', 'ci'])).toBe('no_capacity');
});

test('what nobody waits for any more is over, and what others started is not judged', async () => {
  const open = await ledger.delivered(RERUNNABLE);
  const ended = await ledger.delivered(NODE);
  await ledger.report(ended.principal, ended.workId, 'completed');
  const keys = [open, ended].map(({ workId }) => runKeyOf(workId, 1));
  const unknown = `${'a'.repeat(32)}-1`;
  const asked = [...keys, runKeyOf(open.workId, 2), unknown, 'exec-0123456789'];
  expect(await runsOver(ledger.db, asked)).toEqual([keys[1]]);
  await ledger.outliveLease(open.workId);
  await ledger.settle(open.workId);
  expect(await runsOver(ledger.db, [keys[0]!])).toEqual([keys[0]]);
});
