import { failLease, recordIntent, releaseLease, reportWrite } from '../../ledger/deliveries';
import { workloadRecordOf } from '../../ledger/queries';
import { renewLease } from '../../ledger/renew-lease';
import { FreshLedger, intentKey } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

/** What auditors see of a workload's lease. */
async function leaseOf(workId: string): Promise<Record<string, unknown>> {
  const [row] = await ledger.db.query<Record<string, unknown>>('SELECT * FROM audit_leases WHERE work_id = $1', [
    workId,
  ]);
  return row!;
}

const leaseSteps = async (workId: string): Promise<string[]> =>
  (await ledger.audit(workId)).map(({ type }) => type).filter((type) => type.startsWith('lease.'));

test('a lease says of which unit it is, since when, how urgent, and what makes its effects idempotent', async () => {
  const { workId, principal } = await ledger.delivered();
  const workload = await ledger.workload(workId);
  const lease = await leaseOf(workId);
  expect(Object.keys(lease)).toEqual(
    expect.arrayContaining(
      'tenant_id work_type work_id session_id workflow_id workflow_run_id status priority available_at leased_by lease_expires_at checkpoint_version last_heartbeat_at claimed_at completed_at failed_at idempotency_key epoch attempt'.split(
        ' ',
      ),
    ),
  );
  expect(Object.keys(lease).filter((column) => column.includes('token') || column.includes('hash'))).toEqual([]);
  expect(lease).toMatchObject({
    tenant_id: 'default',
    work_type: 'workload',
    status: 'held',
    priority: 3,
    leased_by: principal.workerId,
    pool_id: principal.poolId,
    lease_expires_at: workload.deadline_at,
    idempotency_key: workId,
    checkpoint_version: '0',
    attempt: 1,
    epoch: '1',
    completed_at: null,
    failed_at: null,
  });
  expect(lease['available_at']).toEqual(expect.any(Date));
  expect(lease['last_heartbeat_at']).toEqual(expect.any(Date));
});

describe('how a lease ends', () => {
  test.each([
    ['completed', 'completed', 'completed_at'],
    ['failed', 'failed', 'failed_at'],
    ['aborted', 'failed', 'failed_at'],
  ] as const)('a delivery that ends %s: its lease is %s', async (status, end, at) => {
    const { workId, principal } = await ledger.delivered();
    await ledger.report(principal, workId, 'running');
    await ledger.report(principal, workId, status);
    const lease = await leaseOf(workId);
    expect(lease['status']).toBe(end);
    expect(lease[at]).toEqual((await ledger.workload(workId)).ended_at);
    expect(await leaseSteps(workId)).toEqual(['lease.claimed', `lease.${end}`]);
    const [step] = await ledger.audit(workId, `lease.${end}`);
    expect(step!.detail).toMatchObject({ epoch: 1, worker_id: principal.workerId, delivery: 1 });
  });

  test('a deadline: expired', async () => {
    const { workId } = await ledger.delivered();
    await ledger.elapse(workId);
    await ledger.settle(workId);
    expect(await leaseOf(workId)).toMatchObject({ status: 'expired', completed_at: null });
    expect(await leaseSteps(workId)).toEqual(['lease.claimed', 'lease.expired']);
  });

  test('a command that nobody renewed: expired, though its workload is offered again', async () => {
    const retry = { redeliver_on: ['lost' as const], max_deliveries: 2 };
    const { workId } = await ledger.delivered({ executor: 'node', retry });
    await ledger.outliveLease(workId);
    await ledger.settle(workId);
    expect((await ledger.workload(workId)).state).toBe('queued');
    expect((await leaseOf(workId))['status']).toBe('expired');
    expect(await leaseSteps(workId)).toEqual(['lease.claimed', 'lease.expired']);
  });

  test('a cancel: cancelled, and no more is said of it', async () => {
    const { workId } = await ledger.delivered();
    await ledger.operate(workId, { action: 'cancel' });
    expect(await leaseOf(workId)).toMatchObject({ status: 'cancelled', completed_at: null, failed_at: null });
    expect(await leaseSteps(workId)).toEqual(['lease.claimed']);
  });

  test('what no handing over followed: failed by its worker, or expired when it ran out', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const { write } = await ledger.claim(worker, workId);
    await failLease(ledger.db, write, { code: 'no_pipe', retryable: true });
    expect((await leaseOf(workId))['status']).toBe('failed');
    await ledger.claim(worker, workId);
    await ledger.outliveLease(workId);
    expect((await leaseOf(workId))['status']).toBe('expired');
    await ledger.claim(worker, workId);
    expect(await leaseSteps(workId)).toEqual([
      'lease.claimed',
      'lease.failed',
      'lease.claimed',
      'lease.expired',
      'lease.claimed',
    ]);
    expect(await leaseOf(workId)).toMatchObject({ status: 'held', failed_at: null, attempt: 3, epoch: '3' });
  });
});

test('a unit that is given back before work began counts no attempt, and the same attempt asked twice counts once', async () => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  const attempt = async (): Promise<unknown> => (await leaseOf(workId))['attempt'];
  await releaseLease(ledger.db, (await ledger.claim(worker, workId)).write, 'draining');
  expect(await leaseOf(workId)).toMatchObject({ status: 'released', attempt: 1 });
  const claimKey = intentKey();
  await ledger.claim(worker, workId, { claimKey });
  const { write } = await ledger.claim(worker, workId, { claimKey });
  expect(await attempt()).toBe(1);
  await recordIntent(ledger.db, write, intentKey());
  await releaseLease(ledger.db, write, 'ENXIO');
  expect(await leaseOf(workId)).toMatchObject({ status: 'released', attempt: 1 });
  await ledger.claim(worker, workId);
  expect(await attempt()).toBe(1);
  await ledger.claim(worker, workId);
  expect(await attempt()).toBe(2);
});

test('what a worker writes and renews shows, and its first renewal is in the audit', async () => {
  const { workId, write } = await ledger.delivered({ executor: 'node' });
  const heard = async (): Promise<Date> => (await leaseOf(workId))['last_heartbeat_at'] as Date;
  let before = await heard();
  for (let renewal = 1; renewal <= 3; renewal += 1) {
    await renewLease(ledger.db, write, { running: true });
    const now = await heard();
    expect(now.getTime()).toBeGreaterThanOrEqual(before.getTime());
    before = now;
    expect((await leaseOf(workId))['renewals']).toBe(renewal);
  }
  expect(await leaseSteps(workId)).toEqual(['lease.claimed', 'lease.renewed']);
  await ledger.db.query('UPDATE leases SET last_heartbeat_at = NULL WHERE work_id = $1', [workId]);
  await reportWrite(ledger.db, write, { write: 'written' });
  expect(await heard()).toEqual(expect.any(Date));
});

test('a checkpoint that the unit has stays with its next lease', async () => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  await ledger.claim(worker, workId);
  await ledger.db.query('UPDATE leases SET checkpoint_version = 7 WHERE work_id = $1', [workId]);
  await ledger.claim(worker, workId);
  expect(await leaseOf(workId)).toMatchObject({ checkpoint_version: '7', attempt: 2 });
});

test('the record of a workload shows its lease without its token', async () => {
  const { workId, principal } = await ledger.delivered();
  const { lease } = (await workloadRecordOf(ledger.db, 'default', workId))!;
  expect(lease).toEqual({
    worker_id: principal.workerId,
    epoch: 1,
    status: 'held',
    attempt: 1,
    claimed_at: expect.stringMatching(/Z$/),
    expires_at: (await ledger.workload(workId)).deadline_at!.toISOString(),
    last_heartbeat_at: expect.stringMatching(/Z$/),
    completed_at: null,
    failed_at: null,
  });
  const unclaimed = await ledger.admitted();
  expect((await workloadRecordOf(ledger.db, 'default', unclaimed))!.lease).toBeNull();
});
