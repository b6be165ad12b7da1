import { Cluster, type Armed } from '../support/cluster';
import { when } from '../support/policy';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.prepare({ rules: [when('none', 'true', 'decision: ignore')] });
  await cluster.start('standby');
}, 120_000);
afterAll(() => cluster.close(), 60_000);

const events = async (): Promise<number> => (await cluster.db.query('SELECT 1 FROM events')).length;

test.each<[Armed, { left: number; replayed: boolean }]>([
  ['batch-uncommitted', { left: 0, replayed: false }],
  ['batch-committed', { left: 2, replayed: true }],
])(
  'an api killed at %s leaves a whole page or none, and the connector that posts it again can go on',
  async (point, { left, replayed }) => {
    const before = await events();
    const page = {
      events: ['1', '2'].map((id) => ({ source: 'rss', action: 'work', event_id: `${point}-${id}` })),
      state: { key: point, if_match: null, value: { next: 2 } },
    };
    await cluster.startOne('api', point);
    await expect(cluster.ask('POST', '/api/events/batch', page)).rejects.toThrow();
    await cluster.diedAt('api');
    expect((await events()) - before).toBe(left);
    const cursor = await cluster.ask('GET', `/api/sources/rss/state/${point}`, undefined, 'standby');
    expect(cursor.status).toBe(left === 0 ? 404 : 200);

    const again = await cluster.ask('POST', '/api/events/batch', page, 'standby');
    expect(again).toMatchObject({ status: 200, body: { replayed, state: { version: 1 } } });
    expect((await events()) - before).toBe(2);
    const next = { events: [], state: { source: 'rss', key: point, if_match: '"1"', value: { next: 3 } } };
    const onward = await cluster.ask('POST', '/api/events/batch', next, 'standby');
    expect(onward).toMatchObject({ status: 200, body: { state: { version: 2 } } });
  },
  60_000,
);
