import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import pino from 'pino';
import type { LifecycleRecord } from '../../contracts/lifecycle';
import { LifecycleForwarder } from '../../executors/opencrow/lifecycle-forwarder';
import { Quarantine } from '../../executors/opencrow/quarantine';
import { SpoolReader } from '../../executors/spool/spool-reader';
import { SpoolWriter } from '../../executors/spool/spool-writer';
import { eventually } from '../support/eventually';
import { FakeControlPlane, takeAll, type Answer } from '../support/fake-control-plane';
import { temporaryFolder } from '../support/temporary-folder';

const idOf = (n: number): string => `wl_${String.fromCharCode(97 + n).repeat(32)}`;

function datagram(workload: string, inboxId: number, error?: string): Buffer {
  const status = error === undefined ? 'running' : 'failed';
  return Buffer.from(
    JSON.stringify({
      version: 1,
      type: 'workload.lifecycle',
      event_id: `opencrow:c:${inboxId}:1:${status}`,
      workload_id: workload,
      status,
      occurred_at: '2026-11-21T08:00:22Z',
      inbox_id: inboxId,
      ...(error === undefined ? {} : { details: { error } }),
    }),
  );
}

class Stage {
  readonly api = new FakeControlPlane();
  readonly folder = temporaryFolder();
  readonly taken: LifecycleRecord[] = [];
  readonly reader = new SpoolReader({ folder: join(this.folder, 'spool') });
  readonly writer = new SpoolWriter({
    folder: join(this.folder, 'spool'),
    onAlarm: () => undefined,
    onDurable: (position) => {
      this.reader.noteDurable(position);
      this.forwarder?.wake();
    },
  });
  forwarder: LifecycleForwarder | undefined;

  /** `refuse` says how a batch is refused; null takes it. */
  async start(refuse: (records: LifecycleRecord[]) => Answer | null): Promise<void> {
    await this.api.start();
    this.api.answer = (request) => {
      const records = request.body['records'] as LifecycleRecord[];
      const refusal = refuse(records);
      if (refusal) return refusal;
      this.taken.push(...records);
      return takeAll(request);
    };
    await this.writer.flush();
    this.forwarder = new LifecycleForwarder({
      reader: this.reader,
      quarantine: new Quarantine(join(this.folder, 'quarantine')),
      control: this.api.client(),
      logger: pino({ level: 'silent' }),
    });
    this.forwarder.start();
  }

  inboxIds(workload: string): number[] {
    return this.taken.flatMap((record) =>
      'delivery_id' in record && record.delivery_id === workload ? [record.inbox_id!] : [],
    );
  }

  async stop(): Promise<void> {
    await this.forwarder?.stop(0);
    await this.writer.close();
    await this.api.stop();
  }
}

let stage: Stage;
beforeEach(() => {
  stage = new Stage();
});
afterEach(() => stage.stop());

test('with the api down for a while, everything arrives once it is back, in order, in batches', async () => {
  for (let n = 1; n <= 250; n += 1) stage.writer.append(datagram(idOf(n % 3), n));
  let down = 3;
  await stage.start(() => (down-- > 0 ? 'down' : null));
  await eventually(() => stage.taken.length === 250);
  expect(stage.taken.map((record) => ('inbox_id' in record ? record.inbox_id : 0))).toEqual(
    Array.from({ length: 250 }, (_, n) => n + 1),
  );
  expect(stage.api.seen.every(({ body }) => (body['records'] as unknown[]).length <= 100)).toBe(true);
});

test('a record that the api refuses for good is set aside with the reason; its neighbours arrive in order', async () => {
  for (let n = 1; n <= 6; n += 1) stage.writer.append(datagram(idOf(0), n));
  const isBad = (record: LifecycleRecord): boolean => 'inbox_id' in record && record.inbox_id === 3;
  await stage.start((records) => (records.some(isBad) ? { problem: 'request.invalid' } : null));
  await eventually(() => stage.taken.length === 5);
  expect(stage.inboxIds(idOf(0))).toEqual([1, 2, 4, 5, 6]);
  await eventually(() => !stage.reader.hasMore());
  const line = readFileSync(join(stage.folder, 'quarantine', 'quarantine.jsonl'), 'utf8').trim();
  expect(JSON.parse(line)).toMatchObject({ code: 'request.invalid', record: { inbox_id: 3 } });
});

test('a workload on whose record the api fails holds up its own later records only', async () => {
  for (let n = 1; n <= 9; n += 1) stage.writer.append(datagram(idOf(n % 3), n));
  const isPoison = (record: LifecycleRecord): boolean => 'inbox_id' in record && record.inbox_id === 4;
  await stage.start((records) => (records.some(isPoison) ? { problem: 'internal' } : null));
  await eventually(() => stage.taken.length === 7);
  stage.writer.append(datagram(idOf(2), 11));
  await eventually(() => stage.taken.length === 8);
  expect(stage.inboxIds(idOf(1))).toEqual([1]);
  expect(stage.inboxIds(idOf(2))).toEqual([2, 5, 8, 11]);
  expect(stage.inboxIds(idOf(0))).toEqual([3, 6, 9]);
  expect(stage.reader.hasMore()).toBe(true);
  // Tried in its batch and by itself, then left alone for a while.
  const tries = stage.api.seen.filter(({ body }) => (body['records'] as LifecycleRecord[]).some(isPoison));
  expect(tries).toHaveLength(2);
});

test.each(['auth.required', 'worker.revoked', 'not_found'] as const)(
  '%s is about the worker: nothing is set aside, everything is kept and sent later',
  async (problem) => {
    stage.writer.append(datagram(idOf(0), 1));
    let refused = 2;
    await stage.start(() => (refused-- > 0 ? { problem } : null));
    await eventually(() => stage.taken.length === 1);
  },
);

test('large records go in batches that the api accepts', async () => {
  for (let n = 1; n <= 60; n += 1) stage.writer.append(datagram(idOf(0), n, '\u0001'.repeat(2_000)));
  await stage.start(() => null);
  await eventually(() => stage.taken.length === 60);
  for (const { body } of stage.api.seen) expect(JSON.stringify(body).length).toBeLessThan(256 * 1024);
});

test('what was not accepted when it stopped is sent by the next one, accepted records are not sent again', async () => {
  for (let n = 1; n <= 3; n += 1) stage.writer.append(datagram(idOf(n), n));
  await stage.start((records) =>
    records.some((record) => 'inbox_id' in record && record.inbox_id === 2) ? { problem: 'internal' } : null,
  );
  await eventually(() => stage.taken.length === 2);
  await stage.forwarder!.stop(0);
  const reader = new SpoolReader({ folder: join(stage.folder, 'spool') });
  reader.noteDurable({ segment: 99, offset: 0 });
  const left = (await reader.entries()).map(
    (entry) => (JSON.parse(entry.payload.toString()) as { inbox_id: number }).inbox_id,
  );
  expect(left).toEqual([2]);
});
