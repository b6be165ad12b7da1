import { Cluster, type Posted } from '../support/cluster';
import { eventually } from '../support/eventually';
import { startReceiver, type WebhookReceiver } from '../support/webhook-receiver';

let cluster: Cluster;
let receiver: WebhookReceiver;
const given = { ...process.env };

beforeAll(async () => {
  receiver = await startReceiver();
  process.env['WORKLOADD_CALLBACK_HOSTS'] = receiver.host;
  process.env['WORKLOADD_CALLBACK_PRIVATE'] = 'true';
  process.env['WORKLOADD_SIGNING_KEY'] = 'k'.repeat(40);
  cluster = await Cluster.prepare({ rules: ['{ id: none, when: "true", decision: ignore }'] });
  await cluster.start('api');
}, 120_000);
afterAll(async () => {
  process.env = given;
  await cluster.close();
  await receiver.close();
}, 60_000);

const stateOf = async ({ id }: Posted): Promise<string | undefined> =>
  (await cluster.record({ id })).callbacks[0]?.state;

test.each([
  ['webhook-taken', 'pending', 1],
  ['webhook-sent', 'pending', 2],
  ['webhook-concluded', 'delivered', 1],
] as const)(
  'killed at %s: it is told again with the same id and bytes until that is noted',
  async (point, left, times) => {
    const path = `/${point}`;
    const posted = await cluster.post({ ends: ['ignored'], deliveries: 0 }, {
      callback_url: receiver.url(path),
    } as never);
    await cluster.startOne('control', point);
    await cluster.diedAt('control');
    expect(await stateOf(posted)).toBe(left);
    await cluster.db.query("UPDATE webhook_messages SET next_attempt_at = clock_timestamp() WHERE state = 'pending'");
    await cluster.startOne('control');
    await eventually(async () => expect(await stateOf(posted)).toBe('delivered'), { timeout: 30_000 });
    await cluster.kill('control');
    const told = receiver.received.filter((each) => each.path === path);
    expect(told).toHaveLength(times);
    expect(new Set(told.map(({ headers, body }) => `${String(headers['webhook-id'])} ${body}`)).size).toBe(1);
  },
  120_000,
);
