import type { StateDocument } from '../../contracts/source-state';
import { anEvent, startTestApi, type Answer, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

interface BatchBody {
  results: { status: number; duplicate: boolean }[];
  state: { source: string; key: string; version: number };
  replayed: boolean;
  current_version: number | null;
}
const post = async (events: unknown[], state: object, token = api.token) =>
  (await api.ask('POST', '/api/events/batch', { json: { events, state }, token })) as Answer & { body: BatchBody };
const cursorOf = async (key: string) =>
  (await api.ask('GET', `/api/sources/rss/state/${key}`)) as Answer & { body: StateDocument };
const count = async (prefix: string): Promise<number> =>
  (await api.db.query('SELECT 1 FROM events WHERE starts_with(event_id, $1)', [prefix])).length;

test('events are accepted and the cursor moves on, in one answer', async () => {
  const first = await post([anEvent('p1-1'), anEvent('p1-2')], { key: 'one', if_match: null, value: { next: 2 } });
  expect(first.status).toBe(200);
  expect(first.body).toMatchObject({
    results: [
      { status: 202, duplicate: false },
      { status: 202, duplicate: false },
    ],
    state: { source: 'rss', key: 'one', version: 1 },
    replayed: false,
  });
  expect(api.wakes.filter(({ workload_id }) => first.text.includes(workload_id))).toHaveLength(2);
  for (const [etag, version] of [
    ['"1"', 2],
    ['2', 3],
  ] as const) {
    const next = await post([anEvent(`p1-${version}`)], { key: 'one', if_match: etag, value: { next: version + 1 } });
    expect(next.body.state.version).toBe(version);
  }
  const empty = await post([], { source: 'rss', key: 'one', if_match: '"3"', value: 'nothing new' });
  expect([empty.body.results, empty.body.state.version]).toEqual([[], 4]);
});

test('when somebody else has moved the cursor no event is committed', async () => {
  await post([anEvent('p2-1')], { key: 'two', if_match: null, value: 2 });
  for (const if_match of [null, '"7"']) {
    const lost = await post([anEvent('p2-2')], { key: 'two', if_match, value: 3 });
    expect([lost.status, lost.body.code, lost.body.current_version]).toEqual([412, 'state.precondition_failed', 1]);
  }
  expect([await count('p2-'), (await cursorOf('two')).body.value]).toEqual([1, 2]);
});

test('one wrong event keeps the whole page out and is named; so does a conflict', async () => {
  const state = { key: 'three', if_match: null, value: 1 };
  const invalid = await post([anEvent('p3-1'), anEvent('p3-2', { surplus: 1 })], state);
  expect([invalid.status, invalid.body.errors]).toEqual([
    422,
    [{ pointer: '/events/1/surplus', detail: expect.any(String) }],
  ]);
  await api.ask('POST', '/api/events', { json: anEvent('p3-3') });
  const conflict = await post([anEvent('p3-1'), anEvent('p3-3', { data: { other: true } })], state);
  expect([conflict.status, conflict.body.code, conflict.body.errors[0]!.pointer]).toEqual([
    409,
    'event.conflict',
    '/events/1/event_id',
  ]);
  expect([await count('p3-'), (await cursorOf('three')).status]).toEqual([1, 404]);
});

test('a page posted again after a lost answer is replayed; a lost race does not pass for it', async () => {
  const events = [anEvent('p4-1'), anEvent('p4-2')];
  const page = (value: unknown, if_match: string | null = null) => ({ key: 'four', if_match, value });
  await post(events, page({ at: 2, etag: 'x' }));
  const wakes = api.wakes.length;
  const again = await post(events, page({ etag: 'x', at: 2 }));
  expect([again.status, again.body.replayed, again.body.state.version]).toEqual([200, true, 1]);
  expect(again.body.results.every(({ duplicate }) => duplicate)).toBe(true);
  expect([api.wakes.length, await count('p4-')]).toEqual([wakes, 2]);

  const otherValue = await post(events, page({ at: 3 }));
  const otherEvents = await post([...events, anEvent('p4-3')], page({ at: 2, etag: 'x' }));
  const noEvents = await post([], { ...page({ at: 2, etag: 'x' }), source: 'rss' });
  expect([otherValue.status, otherEvents.status, noEvents.status]).toEqual([412, 412, 412]);
  expect([(await cursorOf('four')).body.version, await count('p4-')]).toEqual([1, 2]);
});

test('a state needs its scope, a source and no events of another kind', async () => {
  const state = { key: 'five', if_match: null, value: 1 };
  const narrow = await api.newToken(['events:write']);
  expect((await post([anEvent('p5-1')], state, narrow)).body.code).toBe('auth.scope_required');
  const mixed = await post([anEvent('p5-1'), anEvent('p5-2', { source: 'mail' })], state);
  expect([mixed.status, mixed.body.errors[0]!.pointer]).toEqual([422, '/state/source']);
  expect((await post([anEvent('p5-1'), anEvent('p5-2', { source: 'mail' })], { ...state, source: 'rss' })).status).toBe(
    200,
  );
  expect((await api.ask('POST', '/api/events/batch', { json: { events: [] } })).status).toBe(422);
});

/** A source of numbered items, read page by page from a cursor; its connectors lose answers and give up at random. */
class Connector {
  posted = 0;
  constructor(
    private readonly items: number,
    private readonly random: () => number,
  ) {}

  async run(): Promise<void> {
    for (;;) {
      const read = await cursorOf('race');
      const found = read.status === 200 ? { etag: `"${read.body.version}"`, at: read.body.value as number } : null;
      const from = found?.at ?? 0;
      if (from >= this.items) return;
      const to = Math.min(this.items, from + 1 + Math.floor(this.random() * 5));
      const events = Array.from({ length: to - from }, (_, index) => anEvent(`race-${from + index}`));
      const state = { key: 'race', if_match: found?.etag ?? null, value: to };
      let answer = await post(events, state);
      // The answer is lost, so the page is posted again.
      if (this.random() < 0.3) answer = await post(events, state);
      expect([200, 412]).toContain(answer.status);
      if (answer.status === 200) this.posted += 1;
    }
  }
}

test.each([1, 2])(
  'connectors that race lose no item and move the cursor once for each page (seed %d)',
  async (seed) => {
    await api.db.query("DELETE FROM source_states WHERE key = 'race'");
    const items = 40;
    let state = seed * 7919;
    const random = () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
    const before = await count('race-');
    await Promise.all(Array.from({ length: 3 }, () => new Connector(items, random).run()));
    expect(await count('race-')).toBe(items);
    expect((await cursorOf('race')).body.value).toBe(items);
    const { body } = await api.ask('GET', '/api/sources/rss/state/race/versions');
    const values = (body as unknown as { versions: { value: number }[] }).versions.map(({ value }) => value);
    // Each version is one page further: none was committed twice, none went back.
    expect(values).toEqual([...new Set(values)].sort((a, b) => b - a));
    if (before === 0) {
      const accepted = await api.db.query(
        "SELECT 1 FROM audit a JOIN events e USING (workload_id) WHERE type = 'event.accepted' AND starts_with(e.event_id, 'race-')",
      );
      expect(accepted).toHaveLength(items);
    }
  },
);
