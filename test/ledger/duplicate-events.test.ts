import type { SourceEvent } from '../../contracts/events';
import { acceptEvent } from '../../ledger/accept';
import { FreshLedger, problemOf } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const event = (fields: Partial<SourceEvent> = {}): SourceEvent => ({
  source: 'github',
  action: 'opened',
  event_id: ledger.unique('delivery'),
  data: { title: 'a', nested: { b: 1, a: [1, 2] } },
  ...fields,
});

const accept = (posted: SourceEvent, tenantId = 'default') => acceptEvent(ledger.db, tenantId, posted, 'test');

test('an event posted a hundred times at once is one workload', async () => {
  const posted = event();
  const answers = await Promise.all(Array.from({ length: 100 }, () => accept(posted)));

  expect(answers.filter((answer) => !answer.duplicate)).toHaveLength(1);
  expect(new Set(answers.map((answer) => answer.workloadId)).size).toBe(1);
  expect(await ledger.audit(answers[0]!.workloadId)).toEqual([{ type: 'event.accepted', actor: 'test', detail: {} }]);
});

test('key order and spacing do not make another event', async () => {
  const posted = event();
  const { workloadId } = await accept(posted);
  const respelled = JSON.parse(
    `{ "data": { "nested": {"a":[1,2.0], "b":1e0}, "title": "\\u0061" },
       "event_id": "${posted.event_id}", "action": "opened", "source": "github" }`,
  ) as SourceEvent;
  expect(await accept(respelled)).toEqual({ workloadId, state: 'accepted', duplicate: true });
});

test.each<[string, Partial<SourceEvent>]>([
  ['data', { data: { title: 'b' } }],
  ['array order', { data: { title: 'a', nested: { b: 1, a: [2, 1] } } }],
  ['action', { action: 'closed' }],
  ['subject', { subject: 'acme/api#1' }],
])('the same identity with another %s is a conflict and changes nothing', async (_what, change) => {
  const posted = event();
  const { workloadId } = await accept(posted);
  const problem = await problemOf(accept({ ...posted, ...change }));
  expect(problem).toMatchObject({ code: 'event.conflict', extra: { workload_id: workloadId } });
  expect(await accept(posted)).toMatchObject({ workloadId, duplicate: true });
});

test('of two bodies posted at once under one identity, one wins and all others hear the truth', async () => {
  const one = event();
  const other = { ...one, data: { title: 'other' } };
  const results = await Promise.allSettled(Array.from({ length: 20 }, (_, index) => accept(index % 2 ? one : other)));
  expect(results.filter((result) => result.status === 'rejected')).toHaveLength(10);
  const answers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  expect(answers.filter((answer) => !answer.duplicate)).toHaveLength(1);
});

test('the same ids of another tenant or another split of them are another workload', async () => {
  const posted = event({ source: 'ab', event_id: 'c' });
  const other = await ledger.tenant();
  const ids = [
    await accept(posted),
    await accept(posted, other),
    await accept({ ...posted, source: 'a', event_id: 'bc' }),
  ].map((answer) => answer.workloadId);
  expect(new Set(ids).size).toBe(3);
});

test('what Postgres text cannot hold stays in the body', async () => {
  const data = { nul: '\0', lone: '\ud800', key: { '\0': 1 } };
  const posted = event({ data });
  const { workloadId } = await accept(posted);
  expect(await accept(posted)).toMatchObject({ duplicate: true });
  const [stored] = await ledger.db.query<{ body: string }>('SELECT body FROM events WHERE workload_id = $1', [
    workloadId,
  ]);
  expect(JSON.parse(stored!.body)).toEqual(posted);
});
