import { deliveryIdOf } from '../../contracts/names';
import { Secret } from '../../contracts/secret';
import { runnerCallbackSecret } from '../../domain/webhooks/secrets';
import { signedHeaders } from '../../domain/webhooks/signature';
import { startTestApi, type Answer, type TestApi } from '../support/api-server';

const KEY = new Secret('k'.repeat(40));
let api: TestApi;
beforeAll(async () => {
  api = await startTestApi({
    config: { webhooks: { targets: { hosts: [], allowPrivate: false }, signingKey: () => KEY } },
  });
});
afterAll(() => api.stop());

let events = 0;
/** A delivery as its worker's intent leaves it. */
async function delivered(executor: string, number = 1): Promise<string> {
  const posted = await api.ask('POST', '/api/events', {
    json: { source: 's', action: 'a', event_id: `${(events += 1)}` },
  });
  const id = posted.body.workload_id;
  await api.db.query(
    `INSERT INTO deliveries (workload_id, number, delivery_id, executor, worker_id, pool_id, epoch, intent_key_hash)
     VALUES ($1, $2, $3, $4, 'w', 'p', 1, '')`,
    [id, number, deliveryIdOf(id, number), executor],
  );
  return deliveryIdOf(id, number);
}

const doneAt = async (deliveryId: string): Promise<Date | null> => {
  const [row] = await api.db.query<{ runner_done_at: Date | null }>(
    'SELECT runner_done_at FROM deliveries WHERE delivery_id = $1',
    [deliveryId],
  );
  return row!.runner_done_at;
};

const say = (
  deliveryId: string,
  options: { body?: unknown; secretOf?: string; seconds?: number; over?: Record<string, string> } = {},
): Promise<Answer> => {
  const raw = JSON.stringify(options.body ?? { jobId: 'j1', done: true });
  const secret = runnerCallbackSecret(KEY, options.secretOf ?? deliveryId);
  const headers = signedHeaders([secret], 'msg_1', options.seconds ?? Date.now() / 1000, raw);
  return api.ask('POST', `/api/runner-callbacks/${deliveryId}`, {
    token: null,
    raw,
    headers: { ...headers, ...options.over },
  });
};

test.each([
  ['remote', 1],
  ['ci', 2],
] as const)('a signed call for a %s delivery is noted once and answered each time', async (executor, number) => {
  const id = await delivered(executor, number);
  expect((await say(id)).status).toBe(204);
  const first = await doneAt(id);
  expect(first).not.toBeNull();
  expect((await say(id)).status).toBe(204);
  expect(await doneAt(id)).toEqual(first);
});

test('whatever is wrong, the answer is the same and nothing is noted', async () => {
  const id = await delivered('remote');
  const other = await delivered('remote');
  const local = await delivered('node');
  const unknown = `wl_${'a'.repeat(32)}`;
  const answers = await Promise.all([
    say(id, { secretOf: other }),
    say(id, { seconds: Date.now() / 1000 - 400 }),
    say(id, { seconds: Date.now() / 1000 + 400 }),
    say(id, { over: { 'webhook-id': 'msg_2' } }),
    say(id, { over: { 'webhook-signature': '' } }),
    say(unknown),
    say(`${unknown}~2`),
    say('x'),
    say(local),
    api.ask('POST', `/api/runner-callbacks/${id}`, { json: { jobId: 'j1', done: true } }),
  ]);
  for (const { status, body } of answers) {
    expect([status, body.code, body.detail]).toEqual([401, 'webhook.signature_invalid', answers[0].body.detail]);
  }
  expect([await doneAt(id), await doneAt(other), await doneAt(local)]).toEqual([null, null, null]);
});

test('what is signed is checked too, and bounded', async () => {
  const id = await delivered('remote');
  const bodies = [{ done: true }, { jobId: 'j', done: false }, { jobId: 'j', done: true, more: 1 }];
  const statuses = await Promise.all(bodies.map(async (body) => (await say(id, { body })).status));
  expect(statuses).toEqual([422, 422, 400]);
  expect((await say(id, { body: { jobId: 'x'.repeat(5000), done: true } })).status).toBe(413);
  expect(await doneAt(id)).toBeNull();
});

test('who guesses is slowed down, and a signed call passes all the same', async () => {
  const id = await delivered('ci');
  let refused = 0;
  for (let tries = 0; tries < 25; tries += 1) if ((await say(id, { secretOf: 'x' })).status === 429) refused += 1;
  expect(refused).toBeGreaterThan(0);
  expect((await say(id)).status).toBe(204);
});
