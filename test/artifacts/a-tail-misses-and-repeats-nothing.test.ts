import fc from 'fast-check';
import pino from 'pino';
import { Registry } from 'prom-client';
import type { FolderStore } from '../../api/artifacts/folder-store';
import { wholeCharacters } from '../../api/artifacts/utf8';
import { startServer, type RunningServer } from '../../api/server';
import type { TestApi } from '../support/api-server';
import { eventually } from '../support/eventually';
import { startPrinting, type PrintingWorker, type Printing } from '../support/printing-worker';

let api: TestApi;
let store: FolderStore;
let worker: PrintingWorker;
beforeAll(async () => {
  ({ api, store, worker } = await startPrinting());
});
afterAll(() => api.stop());

interface Event {
  event: string;
  id: string;
  data: { offset: number; text: string; state: string };
}

/** A follower that can be cut off. */
class Tail {
  readonly events: Event[] = [];
  readonly cut = new AbortController();
  readonly over: Promise<void>;
  status = 0;

  constructor(workId: string, more: { after?: string; query?: string; url?: string; token?: string } = {}) {
    const { after, query = 'follow=true', url = api.url, token = api.token } = more;
    this.over = this.read(`${url}/api/workloads/${workId}/output?${query}`, {
      authorization: `Bearer ${token}`,
      ...(after !== undefined && { 'last-event-id': after }),
    }).catch(() => undefined);
  }

  private async read(url: string, headers: Record<string, string>): Promise<void> {
    const response = await fetch(url, { headers, signal: this.cut.signal });
    this.status = response.status;
    let text = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: ?(.*)/s).slice(0, 2)));
        if (fields.event) this.events.push({ ...fields, data: JSON.parse(fields.data) } as Event);
      }
    }
  }

  get last(): Event | undefined {
    return this.events.at(-1);
  }
}

const textOf = (events: readonly Event[], stream = 'stdout'): string =>
  events
    .filter(({ event }) => event === stream)
    .map(({ data }) => data.text)
    .join('');

/** Sends output in pieces of these lengths, over and over. */
async function print(run: Printing, output: Uint8Array, lengths: readonly number[]): Promise<void> {
  for (let at = 0, turn = 0; at < output.length; turn += 1) {
    const length = lengths[turn % lengths.length]!;
    await worker.append(run, at, output.subarray(at, at + length));
    at += length;
  }
}

test('a tail that is cut off again and again shows each byte once, and characters whole', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.constantFrom('a', 'ä', '€', '😀', '\ufeff', '\n'), fc.uint8Array({ maxLength: 6 })), {
        maxLength: 25,
      }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 3 }),
      async (parts, lengths, patience) => {
        const output = Buffer.concat(parts.map((part) => Buffer.from(part as string)));
        const run = await worker.printing(`tail-${(runs += 1)}`);
        const seen: Event[] = [];
        const printing = print(run, output, lengths).then(() => worker.ends(run, 'completed'));
        while (seen.at(-1)?.event !== 'end') {
          const tail = new Tail(run.workId, seen.length > 0 ? { after: seen.at(-1)!.id } : {});
          await eventually(() => tail.events.length >= patience || tail.last?.event === 'end', { interval: 2 });
          tail.cut.abort();
          seen.push(...tail.events);
          await tail.over;
        }
        await printing;
        expect(textOf(seen)).toBe(new TextDecoder('utf-8', { ignoreBOM: true }).decode(output));
        expect(seen.at(-1)).toMatchObject({ event: 'end', data: { state: 'completed' }, id: `1.${output.length}.0` });
      },
    ),
    { numRuns: 5 },
  );
}, 60_000);

test('bytes are cut between characters only, wherever they are cut', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), fc.nat(12), (bytes, at) => {
      const length = wholeCharacters(bytes.subarray(0, at));
      const decode = (part: Uint8Array): string => new TextDecoder('utf-8', { ignoreBOM: true }).decode(part);
      expect(decode(bytes.subarray(0, length)) + decode(bytes.subarray(length))).toBe(decode(bytes));
      expect(Math.min(at, bytes.length) - length).toBeLessThanOrEqual(3);
    }),
  );
});

test('a tail waits for the start, shows both streams as they come, and ends with the state', async () => {
  const workId = await worker.queued('waits');
  const tail = new Tail(workId);
  await eventually(() => tail.status === 200);
  const run = await worker.started(workId);
  await worker.append(run, 0, Buffer.from([0xe2, 0x82]));
  await worker.append(run, 0, 'warning', { stream: 'stderr' });
  await eventually(() => tail.events.length === 1);
  expect(tail.events[0]).toEqual({ event: 'stderr', id: '1.0.7', data: { offset: 0, text: 'warning' } });
  await worker.append(run, 2, Buffer.from([0xac, 0xff]));
  await eventually(() => tail.events.length === 2);
  expect(tail.events[1]).toEqual({ event: 'stdout', id: '1.4.7', data: { offset: 0, text: '€\ufffd' } });
  await worker.append(run, 4, Buffer.from([0xf0, 0x9f]));
  await worker.ends(run, 'failed');
  await tail.over;
  expect(tail.events.slice(2).map(({ event, data }) => [event, data])).toEqual([
    ['stdout', { offset: 4, text: '\ufffd' }],
    ['end', { state: 'failed' }],
  ]);
});

test('without follow it tells what there is, and no end before there is one', async () => {
  const run = await worker.printing('once');
  await worker.append(run, 0, 'so far');
  const now = new Tail(run.workId, { query: 'delivery=1' });
  await now.over;
  expect(now.events.map(({ event }) => event)).toEqual(['stdout']);
  const refused = await worker.queued('cancelled');
  await api.ask('POST', `/api/workloads/${refused}/cancel`, { json: { reason: 'no' } });
  const never = new Tail(refused);
  await never.over;
  expect(never.events).toMatchObject([{ event: 'end', data: { state: 'cancelled' } }]);
  expect((await api.ask('GET', `/api/workloads/${refused}/output`, { headers: { 'last-event-id': 'x' } })).status).toBe(
    422,
  );
});

test('followers are counted by tenant, and their places are free when they are gone', async () => {
  const run = await worker.printing('crowd');
  const crowd = Array.from({ length: 25 }, () => new Tail(run.workId));
  await eventually(() => crowd.every(({ status }) => status === 200));
  const full = await api.ask('GET', `/api/workloads/${run.workId}/output?follow=true`);
  expect([full.status, full.body.code, full.headers.get('retry-after')]).toEqual([429, 'capacity.followers', '5']);
  for (const tail of crowd) tail.cut.abort();
  await eventually(async () => (await api.ask('GET', `/api/workloads/${run.workId}/output`)).status === 200);
});

test('what another process appends is seen too; a process that stops sends its followers away', async () => {
  const other: RunningServer = await startServer({
    listen: { port: 0 },
    deps: {
      db: api.db,
      wakes: { send: () => undefined },
      temporalReady: () => Promise.resolve(true),
      logger: pino({ level: 'silent' }),
      registry: new Registry(),
      artifacts: store,
    },
  });
  const run = await worker.printing('replica');
  const tail = new Tail(run.workId, { url: other.url });
  await eventually(() => tail.status === 200);
  await worker.append(run, 0, 'from elsewhere');
  await eventually(() => textOf(tail.events) === 'from elsewhere');
  const since = performance.now();
  await other.close(10_000);
  await tail.over;
  expect(performance.now() - since).toBeLessThan(9_000);
  expect(tail.last!.event).toBe('stdout');
});
