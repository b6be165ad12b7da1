import pino from 'pino';
import { WebhookDispatcher, type WebhookDispatcherOptions } from '../../activities/webhooks/dispatcher';
import { Secret } from '../../contracts/secret';
import type { CallbackRecord } from '../../contracts/webhooks';
import { parseAllowedHost, type TargetRules } from '../../domain/webhooks/allowed-target';
import { webhookSecret } from '../../domain/webhooks/secrets';
import { isSigned } from '../../domain/webhooks/signature';
import { acceptEvent } from '../../ledger/accept';
import { workloadRecordOf } from '../../ledger/queries';
import { concludeTry, takeMessages } from '../../ledger/webhook-messages';
import { eventually } from '../support/eventually';
import { FreshLedger } from '../support/fresh-ledger';
import { startReceiver, type Received, type WebhookReceiver } from '../support/webhook-receiver';

const KEY = new Secret('k'.repeat(40));

let ledger: FreshLedger;
let receiver: WebhookReceiver;
let dispatchers: WebhookDispatcher[];
const log: string[] = [];
const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(line) });

beforeEach(async () => {
  ledger = await FreshLedger.open();
  receiver = await startReceiver();
  dispatchers = [];
});
afterEach(async () => {
  await Promise.all(dispatchers.map((each) => each.stop()));
  await receiver.close();
  await ledger.close();
});

const allowed = (...hosts: string[]): TargetRules => ({
  hosts: hosts.map((host) => parseAllowedHost(host)!),
  allowPrivate: true,
});

function dispatch(options: Partial<WebhookDispatcherOptions> = {}): WebhookDispatcher {
  const rules = allowed(receiver.host);
  const dispatcher = new WebhookDispatcher({
    db: ledger.db,
    rules,
    signingKey: () => KEY,
    logger,
    pollMs: 20,
    ...options,
  });
  dispatchers.push(dispatcher);
  dispatcher.start();
  return dispatcher;
}

/** Accepts an event with a callback and ends its workload. */
async function ended(url: string): Promise<string> {
  const event = { source: 'rss', action: 'triage', event_id: ledger.unique('event'), data: {}, callback_url: url };
  const { workloadId } = await acceptEvent(ledger.db, 'default', event, 'test');
  await ledger.admit(workloadId, { decision: 'ignore' });
  return workloadId;
}

const callback = async (workloadId: string): Promise<CallbackRecord> =>
  (await workloadRecordOf(ledger.db, 'default', workloadId))!.callbacks[0]!;

const audited = async (workloadId: string): Promise<string[]> =>
  (await ledger.audit(workloadId)).map(({ type }) => type).filter((type) => type.startsWith('webhook.'));

/** Lets the next try be made now. */
const hurry = (): Promise<unknown> =>
  ledger.db.query("UPDATE webhook_messages SET next_attempt_at = clock_timestamp() WHERE state = 'pending'");

const signedBy = (secret: Secret, { headers, body }: Received): boolean =>
  isSigned([secret], headers as never, Buffer.from(body), Date.now() / 1000);

test('an end is posted, signed by the secret of the tenant, and noted', async () => {
  const workloadId = await ended(receiver.url('/resume/1?signature=s3cret'));
  dispatch();
  await eventually(async () => expect((await callback(workloadId)).state).toBe('delivered'));
  const [got] = receiver.received;
  expect(got!.path).toBe('/resume/1?signature=s3cret');
  expect(JSON.parse(got!.body)).toMatchObject({ type: 'workload.ignored', data: { workload: { state: 'ignored' } } });
  const of = { kind: 'callback', tenantId: 'default', id: 'default', version: 1 } as const;
  expect(signedBy(webhookSecret(KEY, of), got!)).toBe(true);
  expect(signedBy(webhookSecret(KEY, { ...of, version: 2 }), got!)).toBe(false);
  expect(await callback(workloadId)).toMatchObject({ attempts: 1, last_status: 200, last_error: null });
  expect(await audited(workloadId)).toEqual(['webhook.delivered']);
  expect(log.join()).not.toMatch(/s3cret|resume/);
});

test('it is repeated with the same id and bytes, and the audit has the first failure and the end', async () => {
  receiver.replies.push(500, 404, 302);
  const workloadId = await ended(receiver.url());
  dispatch();
  for (let tries = 1; tries <= 3; tries += 1) {
    await eventually(async () =>
      expect(await callback(workloadId)).toMatchObject({ attempts: tries, state: 'pending' }),
    );
    await eventually(async () => expect((await callback(workloadId)).last_status).not.toBeNull());
    await eventually(() => expect(receiver.received).toHaveLength(tries));
    await eventually(async () => {
      const { next_attempt_at: at } = await callback(workloadId);
      expect(Date.parse(at!) - Date.now()).toBeLessThan(50_000);
    });
    await hurry();
  }
  await eventually(async () => expect((await callback(workloadId)).state).toBe('delivered'));
  expect(new Set(receiver.received.map(({ headers, body }) => `${String(headers['webhook-id'])} ${body}`)).size).toBe(
    1,
  );
  expect(receiver.received).toHaveLength(4);
  expect(await audited(workloadId)).toEqual(['webhook.failed', 'webhook.delivered']);
});

test('410 stops it for good, also for later news', async () => {
  receiver.replies.push(410);
  const worker = await ledger.enrol();
  const event = { source: 'rss', action: 'triage', event_id: 'gone', data: {}, callback_url: receiver.url() };
  const { workloadId } = await acceptEvent(ledger.db, 'default', event, 'test');
  await ledger.admit(workloadId, { pool: worker.poolId });
  await ledger.delivered({}, { principal: worker, workId: workloadId });
  await ledger.elapse(workloadId);
  await ledger.settle(workloadId);
  dispatch();
  await eventually(async () => expect((await callback(workloadId)).state).toBe('gone'));
  await ledger.report(worker, workloadId, 'completed');
  expect((await workloadRecordOf(ledger.db, 'default', workloadId))!.callbacks).toHaveLength(1);
});

test('a receiver that is gone is noted while another of its messages is being concluded', async () => {
  const url = receiver.url('/gone');
  const event = { source: 'rss', action: 'triage', event_id: 'both', data: {}, callback_url: url };
  const { workloadId } = await acceptEvent(ledger.db, 'default', event, 'test');
  await ledger.admit(workloadId, { decision: 'ignore' });
  await ledger.db.query(
    `INSERT INTO webhook_messages (message_id, tenant_id, workload_id, kind, target_id, host, type, sequence, body)
     SELECT 'msg_2', tenant_id, workload_id, kind, target_id, host, type, 2, body FROM webhook_messages`,
  );
  const [first] = await takeMessages(ledger.db, { total: 2, perHost: 2, hosts: new Map() }, 60_000);
  const gone = { status: 410, error: 'refused' };
  await ledger.db.transaction(async (tx) => {
    const other = first!.message_id === 'msg_2' ? "<> 'msg_2'" : "= 'msg_2'";
    await tx.query(`SELECT 1 FROM webhook_messages WHERE message_id ${other} FOR UPDATE`);
    await concludeTry(ledger.db, first!, gone, { state: 'gone' });
  });
  const rows = await ledger.db.query('SELECT message_id, state FROM webhook_messages');
  expect(rows).toContainEqual({ message_id: first!.message_id, state: 'gone' });
});

test('when its tries are used up it is given up, and that is in record and audit', async () => {
  receiver.replies.push(503);
  const workloadId = await ended(receiver.url());
  await ledger.db.query('UPDATE webhook_messages SET attempts = 15');
  dispatch();
  await eventually(async () => expect(await callback(workloadId)).toMatchObject({ state: 'gave_up', attempts: 16 }));
  expect(await audited(workloadId)).toEqual(['webhook.gave_up']);
});

test('a sender that dies with a message leaves it to the others', async () => {
  const workloadId = await ended(receiver.url());
  await ledger.db.query(
    `UPDATE webhook_messages SET attempts = 1, next_attempt_at = clock_timestamp() + interval '300 milliseconds'`,
  );
  dispatch();
  await eventually(async () => expect(await callback(workloadId)).toMatchObject({ state: 'delivered', attempts: 2 }));
});

test('several dispatchers tell each message once', async () => {
  const ids = await Promise.all(Array.from({ length: 30 }, () => ended(receiver.url())));
  dispatch();
  dispatch();
  dispatch();
  await eventually(async () => {
    for (const id of ids) expect((await callback(id)).state).toBe('delivered');
  });
  expect(receiver.received).toHaveLength(30);
});

test('a host that does not answer keeps no other host waiting', async () => {
  const dead = await startReceiver();
  dead.replies.push(...Array.from({ length: 200 }, () => 'silence' as const));
  try {
    for (let n = 0; n < 60; n += 1) await ended(dead.url());
    const workloadId = await ended(receiver.url());
    dispatch({ rules: allowed(receiver.host, dead.host), timeoutMs: 60_000 });
    await eventually(async () => expect((await callback(workloadId)).state).toBe('delivered'));
    expect(dead.received.length).toBeLessThanOrEqual(4);
  } finally {
    await dead.close();
  }
});

test('what a name resolves to is looked at for each try, and the connection goes there', async () => {
  const port = Number(receiver.host.split(':')[1]);
  const workloadId = await ended(`http://rebind.test:${port}/hook`);
  const answers = [
    [{ address: '10.0.0.1', family: 4 }],
    [
      { address: '93.184.216.34', family: 4 },
      { address: '::ffff:169.254.169.254', family: 6 },
    ],
    [{ address: '127.0.0.1', family: 4 }],
  ];
  const seen: string[] = [];
  const dispatcher = dispatch({
    rules: { hosts: [{ host: 'rebind.test', port }], allowPrivate: false },
    resolve: (name) => {
      seen.push(name);
      return Promise.resolve(answers[Math.min(seen.length, 3) - 1]!);
    },
  });
  for (let tries = 1; tries <= 3; tries += 1) {
    await eventually(async () => {
      expect(await callback(workloadId)).toMatchObject({ attempts: tries, last_error: 'forbidden_address' });
    });
    await eventually(() => expect(seen).toHaveLength(tries));
    if (tries < 3) await hurry();
  }
  expect(receiver.received).toEqual([]);
  await dispatcher.stop();
  dispatch({
    rules: { hosts: [{ host: 'rebind.test', port }], allowPrivate: true },
    resolve: () => Promise.resolve([{ address: '127.0.0.1', family: 4 }]),
  });
  await hurry();
  await eventually(async () => expect((await callback(workloadId)).state).toBe('delivered'));
  expect(receiver.received[0]!.headers.host).toBe(`rebind.test:${port}`);
});
