import { onceForKey } from '../../ledger/idempotency';
import { acceptEvent } from '../../ledger/accept';
import { prune } from '../../ledger/sweeps';
import { askFor, grantOf } from '../support/capabilities';
import { eventually } from '../support/eventually';
import { FreshLedger, isBlocking, problemOf } from '../support/fresh-ledger';

const RETENTION = { bodyDays: 30, noiseDays: 7 };

let ledger: FreshLedger;
beforeEach(async () => {
  ledger = await FreshLedger.open();
});
afterEach(() => ledger.close());

const ended = (days: number) =>
  ledger.db.query("UPDATE workloads SET ended_at = ended_at - $1::int * interval '1 day'", [days]);

const bodyOf = async (workId: string): Promise<string | null> => {
  const [row] = await ledger.db.query<{ body: string | null }>('SELECT body FROM events WHERE workload_id = $1', [
    workId,
  ]);
  return row!.body;
};

const cancelled = async (): Promise<string> => {
  const workId = await ledger.admitted();
  await ledger.operate(workId, { action: 'cancel' });
  return workId;
};

test('bodies of workloads that ended long ago are pruned; their identity stays', async () => {
  const event = { source: 'rss', action: 'triage', event_id: 'one', data: { secret: 'pruned' } };
  const { workloadId } = await acceptEvent(ledger.db, 'default', event, 'test');
  await ledger.admit(workloadId, { decision: 'ignore' });
  const recent = await cancelled();
  await ended(31);
  await ledger.db.query('UPDATE workloads SET ended_at = clock_timestamp() WHERE workload_id = $1', [recent]);

  expect(await prune(ledger.db, RETENTION)).toBe(1);
  expect(await bodyOf(workloadId)).toBeNull();
  expect(await bodyOf(recent)).not.toBeNull();
  expect(await prune(ledger.db, RETENTION)).toBe(0);

  expect(await acceptEvent(ledger.db, 'default', event, 'test')).toMatchObject({ workloadId, duplicate: true });
  const other = acceptEvent(ledger.db, 'default', { ...event, data: {} }, 'test');
  expect((await problemOf(other)).code).toBe('event.conflict');
});

test('nothing of an open workload is pruned, however old; a lost one is open until its late window is over', async () => {
  const workIds = [await ledger.accept(), await ledger.admitted(), (await ledger.delivered()).workId];
  const { workId: lost } = await ledger.delivered();
  await ledger.elapse(lost);
  await ledger.settle(lost);
  await ledger.db.query(
    "UPDATE workloads SET accepted_at = accepted_at - interval '1 year', ended_at = clock_timestamp() - interval '1 year'",
  );
  expect(await prune(ledger.db, RETENTION)).toBe(0);
  for (const workId of [...workIds, lost]) expect(await bodyOf(workId)).not.toBeNull();
  await ledger.elapse(lost);
  await ledger.settle(lost);
  expect(await prune(ledger.db, RETENTION)).toBe(1);
});

test('a workload without its body is not redelivered', async () => {
  const workId = await cancelled();
  await ended(31);
  await prune(ledger.db, RETENTION);
  expect((await problemOf(ledger.operate(workId, { action: 'redeliver' }))).code).toBe('workload.state_conflict');
  expect((await ledger.workload(workId)).state).toBe('cancelled');
});

test('a workload that is being redelivered keeps its body', async () => {
  const workId = await cancelled();
  await ended(31);
  const { pruning } = await ledger.db.transaction(async (tx) => {
    await tx.query("UPDATE workloads SET closed = false, state = 'queued', ended_at = NULL WHERE workload_id = $1", [
      workId,
    ]);
    // Either it passes the workload over, or it waits and then sees that it is open.
    const waiting = prune(ledger.db, RETENTION);
    let over = false;
    void waiting.finally(() => (over = true));
    await eventually(async () => over || (await isBlocking(tx)));
    return { pruning: waiting };
  });
  await pruning;
  expect(await bodyOf(workId)).not.toBeNull();
});

test('a run touches no more rows than its limit', async () => {
  for (let count = 0; count < 5; count += 1) await cancelled();
  await ended(31);
  expect(await prune(ledger.db, RETENTION, 2)).toBe(2);
  expect(await prune(ledger.db, RETENTION, 2)).toBe(2);
  expect(await prune(ledger.db, RETENTION, 2)).toBe(1);
});

test('idempotency keys and noise go after their days; evidence of known workloads stays', async () => {
  const { principal, workId } = await ledger.delivered();
  await ledger.report(principal, workId, 'completed');
  await ledger.report(principal, `wl_${'a'.repeat(32)}`, 'completed');
  const request = { tenantId: 'default', route: 'POST /x', key: 'k', fingerprint: 'f' };
  let done = 0;
  const once = () =>
    onceForKey(ledger.db, request, () => Promise.resolve({ status: 200, answer: String((done += 1)) }));
  await once();
  await ledger.db.query("UPDATE lifecycle_events SET received_at = received_at - interval '6 days'");
  await ledger.db.query("UPDATE idempotency_keys SET created_at = created_at - interval '6 days'");
  expect(await prune(ledger.db, RETENTION)).toBe(0);
  expect(await once()).toMatchObject({ replayed: true });

  await ledger.db.query("UPDATE lifecycle_events SET received_at = received_at - interval '2 days'");
  await ledger.db.query("UPDATE idempotency_keys SET created_at = created_at - interval '2 days'");
  expect(await prune(ledger.db, RETENTION)).toBe(2);
  expect(await ledger.db.query('SELECT status FROM lifecycle_events')).toEqual([{ status: 'completed' }]);
  expect(await once()).toMatchObject({ replayed: false, answer: '2' });
});

test('keys of capability uses go once no capability they belong to can live', async () => {
  const { claim } = await ledger.delivered({ grants: [grantOf()] });
  await askFor(ledger, claim.capability!.token, { idempotency_key: 'k' });
  await ledger.db.query("UPDATE capability_calls SET created_at = created_at - interval '7 days'");
  expect(await prune(ledger.db, { ...RETENTION, noiseDays: 1 })).toBe(0);
  await ledger.db.query("UPDATE capability_calls SET created_at = created_at - interval '1 day'");
  expect(await prune(ledger.db, { ...RETENTION, noiseDays: 1 })).toBe(1);
});
