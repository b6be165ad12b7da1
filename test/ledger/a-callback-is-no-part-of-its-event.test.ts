import type { Problem } from '../../contracts/problems';
import type { CallbackRecord } from '../../contracts/webhooks';
import { acceptEvent, type Accepted } from '../../ledger/accept';
import { workloadRecordOf } from '../../ledger/queries';
import { FreshLedger, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const URL_OF = (n: number): string => `https://n8n.example.com/webhook-waiting/${n}?signature=s3cret-${n}`;

const post = (eventId: string, url?: string, more: object = {}): Promise<Accepted> =>
  acceptEvent(
    ledger.db,
    'default',
    { source: 'rss', action: 'triage', event_id: eventId, data: {}, ...more, ...(url && { callback_url: url }) },
    'test',
  );

const callbacks = async (workloadId: string): Promise<CallbackRecord[]> =>
  (await workloadRecordOf(ledger.db, 'default', workloadId))!.callbacks;

test('the same event with another callback is a duplicate, and with another body a conflict', async () => {
  const first = await post('e1', URL_OF(1));
  expect(await post('e1', URL_OF(2))).toMatchObject({ workloadId: first.workloadId, duplicate: true });
  expect(await post('e1')).toMatchObject({ duplicate: true });
  expect(await refusal(post('e1', URL_OF(3), { action: 'other' }))).toBe('event.conflict');
  expect((await callbacks(first.workloadId)).map(({ state, host }) => ({ state, host }))).toEqual([
    { state: 'waiting', host: 'n8n.example.com' },
    { state: 'waiting', host: 'n8n.example.com' },
  ]);
});

test('the kept event, the record and the audit hold nothing of the URL but its host', async () => {
  const { workloadId } = await post('e2', URL_OF(1));
  await post('e2', URL_OF(2));
  const [event] = await ledger.db.query<{ body: string }>('SELECT body FROM events WHERE workload_id = $1', [
    workloadId,
  ]);
  expect(JSON.parse(event!.body)).not.toHaveProperty('callback_url');
  const shown = JSON.stringify([
    event,
    await workloadRecordOf(ledger.db, 'default', workloadId),
    await ledger.audit(workloadId),
  ]);
  expect(shown).not.toMatch(/s3cret|webhook-waiting/);
});

test('a workload has at most 16 callbacks, also when they come at once; the same URL counts once', async () => {
  const { workloadId } = await post('e3', URL_OF(0));
  const outcomes = await Promise.allSettled(Array.from({ length: 24 }, (_, n) => post('e3', URL_OF(n))));
  const refused = outcomes.flatMap((each) => (each.status === 'rejected' ? [(each.reason as Problem).code] : []));
  expect(new Set(refused)).toEqual(new Set(['callback.limit']));
  expect(refused).toHaveLength(8);
  expect(await callbacks(workloadId)).toHaveLength(16);
});

test('each end writes one message for each callback, and a late callback is told of the end at once', async () => {
  const { workloadId } = await post('e4', URL_OF(1));
  await ledger.admit(workloadId, { decision: 'ignore' });
  await post('e4', URL_OF(2));
  const told = await ledger.db.query<{ type: string; sequence: number; body: string; message_id: string }>(
    'SELECT type, sequence, body, message_id FROM webhook_messages WHERE workload_id = $1',
    [workloadId],
  );
  expect(told).toHaveLength(2);
  for (const { type, sequence, body, message_id } of told) {
    expect({ type, sequence }).toEqual({ type: 'workload.ignored', sequence: 1 });
    expect(message_id).toMatch(/^msg_[0-9a-f]{32}$/);
    expect(JSON.parse(body)).toMatchObject({
      type: 'workload.ignored',
      data: { sequence: 1, workload: { workload_id: workloadId, state: 'ignored' }, callback_for: ['e4'] },
    });
  }
  expect(told[0]!.body).toBe(told[1]!.body);
});

test('an end and a callback that meet: the callback is always told, and once', async () => {
  for (let round = 0; round < 20; round += 1) {
    const { workloadId } = await post(`meet-${round}`);
    await Promise.all([ledger.admit(workloadId, { decision: 'deny' }), post(`meet-${round}`, URL_OF(round))]);
    expect(await callbacks(workloadId)).toEqual([
      expect.objectContaining({ state: 'pending', type: 'workload.denied' }),
    ]);
  }
});

test('lost and its correction are told, one after the other', async () => {
  const { workloadId } = await post('e5', URL_OF(1));
  const worker = await ledger.enrol();
  await ledger.admit(workloadId, { pool: worker.poolId, deadlines: { late: 60_000 } });
  await ledger.delivered({}, { principal: worker, workId: workloadId });
  await ledger.elapse(workloadId);
  await ledger.settle(workloadId);
  await ledger.report(worker, workloadId, 'completed');
  const told = await ledger.db.query<{ body: string }>(
    'SELECT body FROM webhook_messages WHERE workload_id = $1 ORDER BY sequence',
    [workloadId],
  );
  expect(told.map(({ body }): unknown => JSON.parse(body))).toMatchObject([
    { type: 'workload.lost', data: { corrected: false } },
    { type: 'workload.completed', data: { corrected: true } },
  ]);
});
