import { spawn } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { segmentPath, listSegments } from '../../executors/spool/spool-format';
import { SpoolReader, type SpoolEntry } from '../../executors/spool/spool-reader';
import { SpoolWriter, type SpoolAlarm } from '../../executors/spool/spool-writer';
import { temporaryFolder } from '../support/temporary-folder';

const CHILD = `
const { SpoolWriter } = require('./dist/executors/spool/spool-writer.js');
const [folder, first] = process.argv.slice(1);
let next = Number(first);
const spool = new SpoolWriter({ folder, segmentBytes: 4096, onAlarm() {}, onDurable() {} });
const durable = (n) => require('fs').writeSync(1, n + '\\n');
async function go() {
  for (;;) {
    for (let i = 0; i < 7; i++) spool.append(Buffer.from(String(next++).padEnd(1 + Math.floor(Math.random() * 300), '.')));
    await spool.flush();
    durable(next - 1);
  }
}
go();
`;

/** Appends numbered records in a process of its own, which dies by SIGKILL in mid-work. The last number known durable. */
async function appendUntilKilled(folder: string, first: number, lifeMs: number): Promise<number> {
  const args = ['-e', CHILD, folder, String(first)];
  const child = spawn(process.execPath, args, {
    cwd: resolve(__dirname, '../..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (output === '') setTimeout(() => child.kill('SIGKILL'), lifeMs);
    output += text;
  });
  await new Promise((ended) => child.once('close', ended));
  return Number(output.trimEnd().split('\n').at(-1));
}

function readerOf(folder: string, window?: number): SpoolReader {
  const reader = new SpoolReader({ folder, ...(window === undefined ? {} : { window }) });
  reader.noteDurable({ segment: (listSegments(folder).at(-1) ?? 0) + 1, offset: 0 });
  return reader;
}

const numberOf = (entry: SpoolEntry): number => parseInt(entry.payload.toString(), 10);

async function readAll(reader: SpoolReader): Promise<number[]> {
  const numbers: number[] = [];
  for (let entries = await reader.entries(); entries.length > 0; entries = await reader.entries()) {
    numbers.push(...entries.map(numberOf));
    await reader.acknowledge(entries);
  }
  return numbers;
}

test('killed at random moments, it loses nothing that was synced and keeps the order', async () => {
  const folder = temporaryFolder();
  let next = 1;
  for (let life = 0; life < 6; life += 1) {
    const durable = await appendUntilKilled(folder, next, Math.random() * 60);
    const numbers = await readAll(readerOf(folder, 50));
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(numbers[0]).toBe(next);
    expect(numbers).toHaveLength(numbers.at(-1)! - next + 1);
    expect(numbers.at(-1)).toBeGreaterThanOrEqual(durable);
    next = numbers.at(-1)! + 1;
  }
  expect(next).toBeGreaterThan(50);
  expect(listSegments(folder).length).toBeLessThanOrEqual(1);
}, 60_000);

async function written(
  folder: string,
  numbers: number[],
  options: { segmentBytes?: number } = {},
): Promise<SpoolWriter> {
  const spool = new SpoolWriter({ folder, onAlarm: () => undefined, onDurable: () => undefined, ...options });
  for (const number of numbers) spool.append(Buffer.from(String(number)));
  await spool.flush();
  return spool;
}

test('cut at any byte, the records before the cut are there and later ones are still taken', async () => {
  for (let cut = 1; cut <= 30; cut += 1) {
    const folder = temporaryFolder();
    await (await written(folder, [1, 2, 3])).close();
    const path = segmentPath(folder, 1);
    const size = statSync(path).size;
    truncateSync(path, Math.max(size - cut, 0));
    await (await written(folder, [4])).close();
    const whole = Math.max(3 - Math.ceil(cut / (size / 3)), 0);
    expect(await readAll(readerOf(folder))).toEqual([...[1, 2, 3].slice(0, whole), 4]);
  }
});

test('a damaged record and a tail of zeros end their segment, are set aside, and no later segment suffers', async () => {
  const folder = temporaryFolder();
  await (await written(folder, [1, 2])).close();
  const bytes = readFileSync(segmentPath(folder, 1));
  bytes[bytes.length - 1] = 0xff;
  writeFileSync(segmentPath(folder, 1), bytes);
  await (await written(folder, [3])).close();
  appendFileSync(segmentPath(folder, 2), Buffer.alloc(64));
  await (await written(folder, [4])).close();
  expect(await readAll(readerOf(folder))).toEqual([1, 3, 4]);
  expect(readdirSync(join(folder, 'torn')).sort()).toEqual(['1.tail', '2.tail']);
});

test('acknowledged out of order, only what is not done comes again after a crash', async () => {
  const folder = temporaryFolder();
  await (await written(folder, [1, 2, 3, 4, 5], { segmentBytes: 9 })).close();
  const before = readerOf(folder);
  const entries = await before.entries();
  await before.acknowledge(entries.filter((entry) => numberOf(entry) % 2 === 0));
  expect((await readerOf(folder).entries()).map(numberOf)).toEqual([1, 3, 5]);
  const narrow = readerOf(folder, 1);
  const first = await narrow.entries();
  expect(first.map(numberOf)).toEqual([1]);
  await narrow.acknowledge(first);
  const after = readerOf(folder);
  expect((await after.entries()).map(numberOf)).toEqual([3, 5]);
  // What is done with is no longer on disk.
  expect(listSegments(folder)[0]).toBeGreaterThan(1);
  await after.acknowledge(await after.entries());
  expect(await readAll(readerOf(folder))).toEqual([]);
});

test('a lost cursor only makes records come again', async () => {
  const folder = temporaryFolder();
  await (await written(folder, [1, 2])).close();
  const reader = readerOf(folder);
  await reader.acknowledge((await reader.entries()).slice(0, 1));
  writeFileSync(join(folder, 'cursor.json'), '{"segm');
  expect(await readAll(readerOf(folder))).toEqual([1, 2]);
});

test('at its cap it refuses and counts, says so, and takes again when there is room', async () => {
  const folder = temporaryFolder();
  const alarms: SpoolAlarm[] = [];
  const spool = new SpoolWriter({
    folder,
    maxBytes: 10_000,
    segmentBytes: 1_000,
    onAlarm: (alarm) => alarms.push(alarm),
    onDurable: () => undefined,
  });
  const taken = Array.from({ length: 30 }, () => spool.append(Buffer.alloc(500, '7'))).filter(Boolean).length;
  await spool.flush();
  expect(taken).toBe(19);
  expect(alarms[0]).toMatchObject({ kind: 'near_cap', dropped: 0 });
  expect(alarms.at(-1)).toMatchObject({ kind: 'full', dropped: 11, maxBytes: 10_000 });
  const reader = readerOf(folder);
  await reader.acknowledge(await reader.entries());
  expect(spool.append(Buffer.from('again'))).toBe(true);
  await spool.close();
});

test('when the next segment cannot be made, what is there is read, the new is refused, and nobody asks for ever', async () => {
  const folder = temporaryFolder();
  const alarms: SpoolAlarm[] = [];
  let reader: SpoolReader | null = null;
  const spool = new SpoolWriter({
    folder,
    segmentBytes: 1_000,
    onAlarm: (alarm) => alarms.push(alarm),
    onDurable: (position) => reader?.noteDurable(position),
  });
  reader = new SpoolReader({ folder });
  const inTheWay = segmentPath(folder, listSegments(folder).at(-1)! + 1);
  mkdirSync(inTheWay);
  const taken = Array.from({ length: 8 }, () => spool.append(Buffer.alloc(300, '7'))).filter(Boolean).length;
  await spool.flush();
  expect(taken).toBeGreaterThan(0);
  expect(taken).toBeLessThan(8);
  expect(alarms.length).toBeGreaterThan(0);
  expect(await reader.entries()).toHaveLength(taken);

  rmdirSync(inTheWay);
  expect(spool.append(Buffer.from('again'))).toBe(true);
  await spool.flush();
  expect(await reader.entries()).toHaveLength(taken + 1);
  await spool.close();
});

test('a segment that is gone though it was promised stops nobody', async () => {
  const folder = temporaryFolder();
  const reader = new SpoolReader({ folder });
  reader.noteDurable({ segment: 7, offset: 500 });
  expect(await reader.entries()).toEqual([]);
});
