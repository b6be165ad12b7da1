import type { Finding } from '../../domain/finding';
import { verifyStories } from '../../ledger/verify/stories';
import { replayWithin } from '../../ledger/replays';
import { FreshLedger, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const findings = async (): Promise<Finding[]> => {
  const found: Finding[] = [];
  await verifyStories(
    ledger.db,
    (finding) => found.push(finding),
    () => undefined,
  );
  return found;
};

test('whatever stage of whatever mode a workload is at, verify has nothing to say', async () => {
  const id = ledger.unique('rule');
  const rules: TestRule[] = [
    ...(['drop', 'queue', 'supersede', 'coalesce'] as const).map((on_duplicate) => ({
      dedupe: { key: `key-${on_duplicate}`, on_duplicate },
    })),
    { id, flow: { debounce: { for: 60_000, max_wait: null } } },
    { id, flow: { concurrency: { max: 1 } } },
    { id, flow: { rate: { max: 1, per: 60_000 } } },
  ];
  const start = async (workId: string): Promise<unknown> =>
    ledger.delivered({}, { workId, principal: await ledger.enrol({ pool: 'default' }) });
  for (const rule of rules) {
    const first = await ledger.admitted(rule);
    if (!rule.flow?.debounce) await start(first);
    const held = await ledger.admitted({ ...rule, decision: 'hold' });
    for (let more = 0; more < 3; more += 1) await ledger.admitted(rule);
    expect(await findings()).toEqual([]);
    await ledger.pump();
    expect(await findings()).toEqual([]);
    if ((await ledger.workload(held)).state === 'held') await ledger.operate(held, { action: 'approve' });
    if (!(await ledger.workload(first)).closed) await ledger.operate(first, { action: 'cancel' });
    await ledger.pump();
    const [turn] = await ledger.db.query<{ workload_id: string }>(
      `SELECT workload_id FROM workloads JOIN decisions USING (workload_id)
       WHERE state = 'queued' AND waiting_for IS NULL LIMIT 1`,
    );
    if (turn) {
      await start(turn.workload_id);
      await ledger.elapse(turn.workload_id);
      await ledger.settle(turn.workload_id);
    }
    expect(await findings()).toEqual([]);
    if ((await ledger.workload(first)).state === 'cancelled') await ledger.operate(first, { action: 'redeliver' });
    await ledger.pump();
    expect(await findings()).toEqual([]);
  }
});

test('nor of a replay that passed a dedupe key by', async () => {
  const worker = await ledger.enrol({ pool: 'default', maxOpenDeliveries: 100 });
  const rule: TestRule = { dedupe: { key: ledger.unique('key'), on_duplicate: 'drop' } };
  const first = await ledger.admitted(rule);
  await ledger.operate(first, { action: 'cancel' });
  await ledger.admitted(rule);
  const order = { tenantId: 'default', workloadId: first, actor: 'test', reason: 'because', bypassDedupe: true };
  const { workloadId } = await ledger.db.transaction((tx) => replayWithin(tx, order));
  await ledger.admit(workloadId, rule);
  await ledger.delivered({}, { workId: workloadId, principal: worker });
  expect(await findings()).toEqual([]);
});
