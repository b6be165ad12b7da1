import { noteCapacity } from '../../ledger/capacity';
import { markSent, takeUnsent, unsentBacklog, type UnsentWake } from '../../ledger/outbox';
import { takeUnswept, wakeAgain, wakeOverdue } from '../../ledger/sweeps';
import { FreshLedger } from '../support/fresh-ledger';

const AGE = 3_600_000;

let ledger: FreshLedger;
beforeEach(async () => {
  ledger = await FreshLedger.open();
});
afterEach(() => ledger.close());

const accepted = (count: number): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, () => ledger.accept()));

/** Makes everything that was taken or committed so far older than AGE. */
const age = () => ledger.db.query("UPDATE workloads SET wake_at = wake_at - interval '2 hours'");

/** A relay that takes until nothing is left, and does not mark. */
async function drain(limit: number): Promise<UnsentWake[]> {
  const taken: UnsentWake[] = [];
  for (;;) {
    const wakes = await takeUnsent(ledger.db, AGE, limit);
    expect(wakes.length).toBeLessThanOrEqual(limit);
    if (wakes.length === 0) return taken;
    taken.push(...wakes);
  }
}

const idsOf = (wakes: readonly { workload_id: string }[]): string[] => wakes.map((wake) => wake.workload_id).sort();

test('four relays at once hand each wake to one of them', async () => {
  const workIds = await accepted(80);
  await age();
  const taken = (await Promise.all([7, 5, 3, 11].map(drain))).flat();
  expect(idsOf(taken)).toEqual(workIds.sort());
});

test('a wake that is younger than the age is left to the one that committed it', async () => {
  await accepted(3);
  expect(await drain(10)).toEqual([]);
  expect(await takeUnsent(ledger.db, 0, 10)).toHaveLength(3);
});

test('a relay that dies loses nothing: what it took is taken again after the age', async () => {
  const workIds = await accepted(10);
  for (let relay = 0; relay < 3; relay += 1) {
    await age();
    expect(idsOf(await drain(4))).toEqual([...workIds].sort());
  }
  expect((await unsentBacklog(ledger.db)).count).toBe(10);
});

test('what was sent is not sent again', async () => {
  await accepted(4);
  await age();
  await markSent(ledger.db, await drain(10));
  await age();
  expect(await drain(10)).toEqual([]);
  expect(await unsentBacklog(ledger.db)).toEqual({ count: 0, oldest_ms: 0 });
});

test('a fact that is committed while its forerunner is being sent stays unsent', async () => {
  const [workId] = await accepted(1);
  const [first] = await takeUnsent(ledger.db, 0, 1);
  await ledger.operate(workId!, { action: 'cancel' });
  await markSent(ledger.db, [first!]);
  const [second] = await takeUnsent(ledger.db, 0, 1);
  expect(second).toMatchObject({ workload_id: workId, state: 'cancelled', closed: true });
  expect(BigInt(second!.wake_seq)).toBeGreaterThan(BigInt(first!.wake_seq));

  await markSent(ledger.db, [second!]);
  await markSent(ledger.db, [first!]);
  expect((await unsentBacklog(ledger.db)).count).toBe(0);
});

test('a batch may hold two facts of one workload, in any order', async () => {
  const sent: { workload_id: string; wake_seq: string }[] = [];
  for (const workload_id of await accepted(20))
    sent.push({ workload_id, wake_seq: '1' }, { workload_id, wake_seq: '2' });
  await ledger.db.query('UPDATE workloads SET wake_seq = 2');
  await markSent(ledger.db, [...sent.slice(0, 20).reverse(), ...sent.slice(20)]);
  expect((await unsentBacklog(ledger.db)).count).toBe(0);
});

test('relays that note the same wakes at once in other orders do not fail', async () => {
  const wakes = (await accepted(60)).map((workload_id) => ({ workload_id, wake_seq: '1' }));
  await Promise.all(Array.from({ length: 6 }, (_, i) => markSent(ledger.db, i % 2 ? wakes : [...wakes].reverse())));
  expect((await unsentBacklog(ledger.db)).count).toBe(0);
});

test('a fact that changes nothing wakes nobody', async () => {
  const { principal, workId } = await ledger.delivered();
  await ledger.report(principal, workId, 'completed');
  const { wake_seq } = await ledger.workload(workId);
  expect((await ledger.report(principal, workId, 'preempted')).wake).toBeNull();
  expect((await ledger.workload(workId)).wake_seq).toBe(wake_seq);
});

/** One waits for the lock, and another one behind it: both have read the same. */
const bothWait = `EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND locktype = 'tuple' AND relation = 'workloads'::regclass
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`;

describe('sweeps', () => {
  /** Everything that is unsent is sent. */
  async function quiet(): Promise<void> {
    await markSent(ledger.db, await takeUnsent(ledger.db, 0, 1000));
  }

  test('wake a workload whose deadline nobody acted on, once a time', async () => {
    const workId = await ledger.admitted();
    await ledger.admitted();
    await quiet();
    await ledger.elapse(workId);
    expect(await wakeOverdue(ledger.db, 60_000)).toBe(0);
    const woken = await Promise.all(Array.from({ length: 4 }, () => wakeOverdue(ledger.db, 0)));
    expect(woken.reduce((sum, each) => sum + each)).toBe(1);
    // At once, not after the relay's age.
    expect(idsOf(await drain(10))).toEqual([workId]);
  });

  test('look at each open workload once, by one of many sweepers', async () => {
    const open = await Promise.all(Array.from({ length: 20 }, () => ledger.admitted()));
    await ledger.operate(await ledger.admitted(), { action: 'cancel' });
    expect(await takeUnswept(ledger.db, AGE, 100)).toEqual([]);
    await ledger.db.query("UPDATE workloads SET swept_at = swept_at - interval '2 hours'");
    const looks = await Promise.all(Array.from({ length: 4 }, () => takeUnswept(ledger.db, AGE, 3)));
    const seen = [...looks.flat(), ...(await takeUnswept(ledger.db, AGE, 100))];
    expect(seen.sort()).toEqual(open.sort());
    expect(await takeUnswept(ledger.db, AGE, 100)).toEqual([]);
  });

  test('ask for a new run of what is open only', async () => {
    const [open, ended] = [await ledger.admitted(), await ledger.admitted()];
    await ledger.operate(ended, { action: 'cancel' });
    await quiet();
    await wakeAgain(ledger.db, [open, ended]);
    expect(idsOf(await drain(10))).toEqual([open]);
  });

  test('say once, and only of what is still queued, that nobody serves its pool', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ pool: worker.poolId });
    const twice = () => Promise.all([noteCapacity(ledger.db, 0), noteCapacity(ledger.db, 0)]);
    await ledger.whileLocked(workId, twice, bothWait);
    expect((await ledger.workload(workId)).reason).toBe('no_capacity');
    expect(await ledger.audit(workId, 'workload.no_capacity')).toHaveLength(1);

    await ledger.db.query('UPDATE workers SET last_heartbeat_at = clock_timestamp()');
    await ledger.whileLocked(workId, twice, bothWait);
    expect((await ledger.workload(workId)).reason).toBe('waiting_for_worker');
    expect(await ledger.audit(workId, 'workload.waiting_for_worker')).toHaveLength(1);
  });
});
