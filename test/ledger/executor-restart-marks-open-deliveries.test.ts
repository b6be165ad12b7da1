import { noteExecutorRestart } from '../../ledger/executor-restart';
import { FreshLedger } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const suspectSince = async (workId: string): Promise<Date | null> =>
  (await ledger.deliveries(workId))[0]!.suspect_since;

test('what was handed over before a restart is suspect until something is heard of it', async () => {
  const { principal, workId } = await ledger.delivered();
  const elsewhere = await ledger.delivered();
  await ledger.report(principal, workId, 'running');
  await ledger.db.transaction((tx) => noteExecutorRestart(tx, principal.workerId));
  expect(await suspectSince(workId)).not.toBeNull();
  expect(await suspectSince(elsewhere.workId)).toBeNull();
  expect(await ledger.audit(workId, 'delivery.suspect')).toMatchObject([
    { actor: `worker:${principal.workerId}`, detail: { delivery: 1, delivery_id: workId, why: 'executor_restarted' } },
  ]);
  expect((await ledger.workload(workId)).state).toBe('running');

  await ledger.db.transaction((tx) => noteExecutorRestart(tx, principal.workerId));
  expect(await ledger.audit(workId, 'delivery.suspect')).toHaveLength(1);

  await ledger.report(principal, workId, 'running');
  expect(await suspectSince(workId)).toBeNull();
});

test('a delivery that has ended is beyond suspicion', async () => {
  const { principal, workId } = await ledger.delivered();
  await ledger.report(principal, workId, 'completed');
  await ledger.db.transaction((tx) => noteExecutorRestart(tx, principal.workerId));
  expect(await suspectSince(workId)).toBeNull();
});
