import type { Answer } from '../support/api-server';
import type { WorkloadExplanation } from '../../contracts/explanation';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { policyText, when } from '../support/policy';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  const rules = [
    when('keyed', 'event.source == "rss"', `decision: dispatch, dedupe: { key: 'string(event.data.id)' }`),
    when('plain', 'event.source == "git"'),
  ];
  await api.ask('PUT', '/api/policy', { json: { source: policyText(...rules) } });
});
afterAll(() => api.stop());

async function decided(event: Record<string, unknown>): Promise<string> {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: event })).body;
  await api.admit(id);
  return id;
}
const cancelled = async (event: Record<string, unknown>): Promise<string> => {
  const id = await decided(event);
  await api.ask('POST', `/api/workloads/${id}/cancel`, { json: { reason: 'by hand' } });
  return id;
};
const replay = (id: string, json: object = { reason: 'once more' }, key?: string): Promise<Answer> =>
  api.ask('POST', `/api/workloads/${id}/replay`, { json, ...(key && { headers: { 'Idempotency-Key': key } }) });
const recordOf = async (id: string) => (await api.ask('GET', `/api/workloads/${id}`)).body;

test('a replay is an event of its own with the same content, named on both sides', async () => {
  const id = await cancelled(
    anEvent('a', {
      source: 'git',
      subject: 's#1',
      occurred_at: '2026-01-02T03:04:05Z',
      data: { x: [1] },
      attributes: { lane: 'a' },
    }),
  );
  const wakes = api.wakes.length;
  const answer = await replay(id);
  const copy = answer.body.workload_id;
  expect(answer.status).toBe(202);
  expect(answer.body).toEqual({
    workload_id: copy,
    replay_of: id,
    state: 'accepted',
    links: { self: `/api/workloads/${copy}` },
  });
  expect(answer.headers.get('location')).toBe(`/api/workloads/${copy}`);
  expect(api.wakes.slice(wakes)).toEqual([
    expect.objectContaining({ workload_id: copy, state: 'accepted', wake_seq: '1' }),
  ]);

  await api.admit(copy);
  const [first, second] = [await recordOf(id), await recordOf(copy)];
  expect(second.state).toBe('queued');
  expect({ ...second.event, event_id: '', received_at: '' }).toEqual({ ...first.event, event_id: '', received_at: '' });
  expect(second.event.event_id).toMatch(/^replay:[0-9a-f]{24}:a$/);
  const link = {
    reason: 'once more',
    actor: expect.stringMatching(/^token:/),
    bypass_dedupe: false,
    bypassed_holder: null,
  };
  expect(first).toMatchObject({ replay_of: null, replays: [{ workload_id: copy, ...link }] });
  expect(second).toMatchObject({ replay_of: { workload_id: id, ...link }, replays: [] });
  for (const [record, type, detail] of [
    [first, 'workload.replayed', { replay: copy }],
    [second, 'workload.replay_accepted', { replay_of: id }],
  ] as const) {
    const rows = record.timeline.filter((row) => row.type === type);
    expect(rows).toEqual([
      expect.objectContaining({
        actor: link.actor,
        detail: expect.objectContaining({ ...detail, operator_reason: 'once more' }),
      }),
    ]);
  }
  const told = (await api.ask('GET', `/api/workloads/${copy}/explain`)).body as unknown as WorkloadExplanation;
  expect(told.summary.join('\n')).toContain(`It is a replay of ${id}`);
});

test('a key replays once, whatever the number of requests; without one each is a replay', async () => {
  const id = await cancelled(anEvent('keyed', { source: 'git' }));
  const answers = await Promise.all(Array.from({ length: 10 }, () => replay(id, { reason: 'again' }, 'k1')));
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
  expect((await recordOf(id)).replays).toHaveLength(1);
  expect((await replay(id, { reason: 'again', bypass_dedupe: true }, 'k1')).body.code).toBe('idempotency.conflict');
  await replay(id);
  await replay(id);
  expect((await recordOf(id)).replays).toHaveLength(3);
});

test('a replay of a replay keeps the event’s name readable', async () => {
  const id = await cancelled(anEvent('x'.repeat(256), { source: 'git' }));
  const copy = (await replay(id)).body.workload_id;
  expect((await recordOf(copy)).event.event_id).toMatch(/^replay:[0-9a-f]{24}:x{224}$/);
  await api.admit(copy);
  await api.ask('POST', `/api/workloads/${copy}/cancel`, { json: { reason: 'r' } });
  const third = (await replay(copy)).body.workload_id;
  expect((await recordOf(third)).event.event_id).toMatch(/^replay:[0-9a-f]{24}:x{224}$/);
});

test('a held dedupe key makes it a duplicate, unless the operator says to go on without it', async () => {
  const holder = await decided(anEvent('h1', { data: { id: 7 } }));
  const id = await decided(anEvent('h2', { data: { id: 7 } }));
  const plain = (await replay(id)).body.workload_id;
  await api.admit(plain);
  expect((await recordOf(plain)).decision).toMatchObject({ decision: 'duplicate', duplicate_of: holder });

  const forced = (await replay(id, { reason: 'must run', bypass_dedupe: true })).body.workload_id;
  await api.admit(forced);
  const record = await recordOf(forced);
  expect(record).toMatchObject({
    state: 'queued',
    decision: { decision: 'dispatch', dedupe_key: '7', duplicate_of: null },
    replay_of: { bypass_dedupe: true, bypassed_holder: holder },
  });
  expect(record.timeline.find(({ type }) => type === 'workload.dedupe_bypassed')?.detail).toEqual({ held_by: holder });
  const told = (await api.ask('GET', `/api/workloads/${forced}/explain`)).body as unknown as WorkloadExplanation;
  expect(told).toMatchObject({
    recomputed: true,
    dedupe: { key: '7', outcome: 'bypassed', held_by: { workload_id: holder } },
  });
  // The holder still has its key.
  const next = await decided(anEvent('h3', { data: { id: 7 } }));
  expect((await recordOf(next)).decision.duplicate_of).toBe(holder);
});

test('a free key is taken also by a replay that could do without', async () => {
  const id = await cancelled(anEvent('f1', { data: { id: 8 } }));
  const forced = (await replay(id, { reason: 'r', bypass_dedupe: true })).body.workload_id;
  await api.admit(forced);
  expect((await recordOf(forced)).replay_of).toMatchObject({ bypassed_holder: null });
  const next = await decided(anEvent('f2', { data: { id: 8 } }));
  expect((await recordOf(next)).decision.duplicate_of).toBe(forced);
});

test('what is open, pruned, unknown or another tenant’s is not replayed, and nothing is left of the try', async () => {
  const open = await decided(anEvent('open', { source: 'git' }));
  expect((await replay(open)).body).toMatchObject({ code: 'workload.state_conflict', state: 'queued' });
  const pruned = await cancelled(anEvent('pruned', { source: 'git' }));
  await api.db.query('UPDATE events SET body = NULL WHERE workload_id = $1', [pruned]);
  const refused = await replay(pruned, { reason: 'r' }, 'pruned-key');
  expect([refused.status, refused.body.code]).toEqual([409, 'replay.body_pruned']);
  const ended = await cancelled(anEvent('ended', { source: 'git' }));
  const stranger = await api.newToken(['admin'], 'another');
  const foreign = await api.ask('POST', `/api/workloads/${ended}/replay`, { json: { reason: 'r' }, token: stranger });
  expect(foreign.status).toBe(404);
  expect((await replay(ended, { reason: ' ' })).status).toBe(422);
  expect((await replay(ended, { reason: 'r', data: {} })).body.code).toBe('request.unknown_field');
  for (const id of [open, pruned, ended]) expect((await recordOf(id)).replays).toEqual([]);
});
