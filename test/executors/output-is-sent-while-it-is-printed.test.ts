import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import pino from 'pino';
import type { FolderStore } from '../../api/artifacts/folder-store';
import { checkDigests } from '../../api/artifacts/keeper';
import { Secret } from '../../contracts/secret';
import type { CommandOutput } from '../../executors/command/command-output';
import { spooledOutput } from '../../executors/command/run-output';
import { ControlPlaneClient } from '../../executors/control-plane-client';
import { artifactsOf } from '../../ledger/artifacts';
import type { TestApi } from '../support/api-server';
import { eventually } from '../support/eventually';
import { startPrinting, type PrintingWorker, type Printing } from '../support/printing-worker';
import { temporaryFolder } from '../support/temporary-folder';

let api: TestApi;
let worker: PrintingWorker;
let store: FolderStore;
beforeAll(async () => {
  ({ api, store, worker } = await startPrinting());
});
afterAll(() => api.stop());

const never = new AbortController().signal;
const log: string[] = [];
const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(line) });

function outputOf(
  { workId, lease }: Printing,
  {
    url = api.url,
    folder = path.join(temporaryFolder(), 'output'),
    finishMs = 30_000,
    credential = worker.credential,
  } = {},
): { output: CommandOutput; folder: string } {
  const control = new ControlPlaneClient({ baseUrl: url, workerId: 'w1', credential: () => new Secret(credential) });
  const run = { lease: { workId, epoch: 1, token: new Secret(lease) }, deliveryId: workId, control, logger };
  return { output: spooledOutput({ folder, finishMs })(run), folder };
}

const counted = (bytes: Uint8Array) => ({
  size: bytes.length,
  sha256: createHash('sha256').update(bytes).digest('hex'),
});

async function kept(run: Printing): Promise<Buffer> {
  const stdout = (await artifactsOf(api.db, 'default', run.workId))!.find(({ name }) => name === 'stdout')!;
  const key = { workloadId: run.workId, delivery: 1, name: 'stdout' };
  const pieces = [];
  for await (const piece of store.read(key, 0, stdout.size)) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** Passes requests on, as `disturb` lets it: a request may be refused, or its answer be lost. */
async function disturbed(
  disturb: (turn: number) => 'pass' | 'refuse' | 'lose',
): Promise<{ url: string; turns: () => number; close: () => void }> {
  let turns = 0;
  const server = http.createServer((request, response) => {
    const what = disturb((turns += 1));
    if (what === 'refuse') return void response.writeHead(502).end();
    const { method, headers } = request;
    const onward = http.request(api.url + request.url!, { method, headers }, (answer) => {
      if (what === 'lose') return void answer.resume().on('end', () => request.socket.destroy());
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
    });
    request.pipe(onward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    turns: () => turns,
    close: () => void server.close().closeAllConnections(),
  };
}

test('output is at the store while the command runs; at the end the digests agree and the spool is empty', async () => {
  const run = await worker.printing('live');
  const { output, folder } = outputOf(run);
  const binary = randomBytes(700_000);
  output.write('stdout', binary.subarray(0, 300_000));
  await eventually(async () => (await artifactsOf(api.db, 'default', run.workId))?.[0]?.size === 300_000);
  expect(readdirSync(folder).map((name) => statSync(path.join(folder, name)).mode & 0o777)).toEqual([0o600]);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  output.write('stdout', binary.subarray(300_000));
  output.write('stderr', Buffer.from('warning'));
  const printed = await output.finish(never);
  expect(printed).toEqual({ stdout: counted(binary), stderr: counted(Buffer.from('warning')) });
  expect((await kept(run)).equals(binary)).toBe(true);
  expect(readdirSync(folder)).toEqual([]);
  await worker.ends(run, 'completed', printed);
  await checkDigests(api.db, store);
  expect(await artifactsOf(api.db, 'default', run.workId)).toMatchObject([
    { name: 'stderr', complete: true },
    { name: 'stdout', complete: true, size: 700_000 },
  ]);
});

test('refused requests and lost answers lose and repeat no byte', async () => {
  const proxy = await disturbed((turn) => (['lose', 'pass', 'refuse'] as const)[turn % 3]!);
  try {
    const run = await worker.printing('disturbed');
    const { output } = outputOf(run, { url: proxy.url });
    const bytes = randomBytes(600_000);
    output.write('stdout', bytes);
    expect(await output.finish(never)).toEqual({ stdout: counted(bytes) });
    expect((await kept(run)).equals(bytes)).toBe(true);
  } finally {
    proxy.close();
  }
});

test('memory does not grow with the output', async () => {
  const run = await worker.printing('large');
  const { output } = outputOf(run);
  const chunk = randomBytes(65_536);
  const held = (): number => process.memoryUsage().arrayBuffers;
  const before = held();
  const hash = createHash('sha256');
  for (let count = 0; count < 192; count += 1) {
    output.write('stdout', chunk);
    hash.update(chunk);
  }
  expect(held() - before).toBeLessThan(4 * 1024 * 1024);
  expect(await output.finish(never)).toEqual({ stdout: { size: 192 * 65_536, sha256: hash.digest('hex') } });
  expect((await artifactsOf(api.db, 'default', run.workId))![0]!.size).toBe(192 * 65_536);
}, 60_000);

test('an end does not wait for output that nobody keeps, nor longer than it may for one that cannot be sent', async () => {
  const run = await worker.printing('given-up');
  const bytes = Buffer.from('counted all the same');
  const stale = outputOf({ ...run, lease: 'made-up' });
  stale.output.write('stdout', bytes);
  expect(await stale.output.finish(never)).toEqual({ stdout: counted(bytes) });
  expect(log.at(-1)).toContain('lease.stale');

  const proxy = await disturbed(() => 'refuse');
  try {
    const slow = outputOf(run, { url: proxy.url, finishMs: 300 });
    slow.output.write('stdout', bytes);
    expect(await slow.output.finish(never)).toEqual({ stdout: counted(bytes) });
    expect(log.at(-1)).toContain('timeout');
    const stopped = outputOf(run, { url: proxy.url });
    stopped.output.write('stdout', bytes);
    expect(await stopped.output.finish(AbortSignal.timeout(50))).toEqual({ stdout: counted(bytes) });
    expect(proxy.turns()).toBeGreaterThan(1);
  } finally {
    proxy.close();
  }
  expect((await artifactsOf(api.db, 'default', run.workId))!).toEqual([]);
});

test('what prints nothing has no output, what a dead process left is removed, and a spool that fails is no failure', async () => {
  const run = await worker.printing('spool');
  const folder = path.join(temporaryFolder(), 'output');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'left.stdout'), 'left');
  const { output } = outputOf(run, { folder });
  expect(readdirSync(folder)).toEqual([]);
  expect(await output.finish(never)).toEqual({});
  const { output: broken } = outputOf(run, { folder: path.join(folder, 'gone') });
  rmSync(path.join(folder, 'gone'), { recursive: true });
  broken.write('stdout', Buffer.from('x'));
  expect(await broken.finish(never)).toEqual({ stdout: counted(Buffer.from('x')) });
  expect(log.some((line) => line.includes('ENOENT'))).toBe(true);
});
