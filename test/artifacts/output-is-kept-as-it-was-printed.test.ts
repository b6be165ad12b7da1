import { createHash } from 'node:crypto';
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import type { FolderStore } from '../../api/artifacts/folder-store';
import { checkDigests } from '../../api/artifacts/keeper';
import type { ArtifactRecord } from '../../contracts/artifacts';
import { DISPATCH_ALL, startTestApi, type Answer, type TestApi } from '../support/api-server';
import { startPrinting, PrintingWorker, type Printing } from '../support/printing-worker';

let api: TestApi;
let store: FolderStore;
let worker: PrintingWorker;
beforeAll(async () => {
  ({ api, store, worker } = await startPrinting());
});
afterAll(() => api.stop());

const sha256 = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex');
const printed = (bytes: Uint8Array): { size: number; sha256: string } => ({
  size: bytes.length,
  sha256: sha256(bytes),
});
const sizeOf = ({ text }: Answer): number => (JSON.parse(text) as { size: number }).size;
const fileOf = ({ workId }: Printing, name = 'stdout'): string => path.join(store.folder, workId, '1', name);

async function listed({ workId }: Printing, token = api.token): Promise<(ArtifactRecord & { delivery: number })[]> {
  const answer = await api.ask('GET', `/api/workloads/${workId}/artifacts`, { token });
  return (JSON.parse(answer.text) as { artifacts: (ArtifactRecord & { delivery: number })[] }).artifacts;
}

async function bytesOf({ workId }: Printing, headers: Record<string, string> = {}, name = 'stdout') {
  const response = await fetch(`${api.url}/api/workloads/${workId}/artifacts/1/${name}`, {
    headers: { authorization: `Bearer ${api.token}`, ...headers },
  });
  return { status: response.status, headers: response.headers, bytes: Buffer.from(await response.arrayBuffer()) };
}

test('any order and repetition of appends leaves the bytes that were printed', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ minLength: 1, maxLength: 60 }),
      fc.array(fc.tuple(fc.nat(60), fc.nat(30)), { maxLength: 15 }),
      async (output, attempts) => {
        const run = await worker.printing(`property-${(runs += 1)}`);
        let kept = 0;
        for (const [offset, length] of attempts) {
          const piece = output.subarray(Math.min(offset, output.length), Math.min(offset + length, output.length));
          const answer = await worker.append(run, offset, piece);
          if (offset > kept) expect([answer.status, answer.body.code]).toEqual([409, 'artifacts.offset_ahead']);
          else {
            if (offset === kept) kept += piece.length;
            expect([answer.status, sizeOf(answer)]).toEqual([200, kept]);
          }
        }
        // As a worker does it: by the size that is answered.
        for (let at = sizeOf(await worker.append(run, 0, '')); at < output.length;) {
          at = sizeOf(await worker.append(run, at, output.subarray(at, at + 7)));
        }
        expect((await bytesOf(run)).bytes.equals(output)).toBe(true);
      },
    ),
    { numRuns: 15 },
  );
}, 60_000);

test('two appends at one offset at once: one is kept', async () => {
  const run = await worker.printing('race');
  const answers = await Promise.all(Array.from({ length: 8 }, () => worker.append(run, 0, 'same')));
  expect(answers.map((answer) => [answer.status, sizeOf(answer)])).toEqual(answers.map(() => [200, 4]));
  expect((await bytesOf(run)).bytes.toString()).toBe('same');
});

test('files and folders are closed to other users', async () => {
  const run = await worker.printing('modes');
  await worker.append(run, 0, 'x', { stream: 'stderr' });
  const file = fileOf(run, 'stderr');
  const modes = [file, path.dirname(file), path.dirname(path.dirname(file)), store.folder];
  expect(modes.map((each) => statSync(each).mode & 0o777)).toEqual([0o600, 0o700, 0o700, 0o700]);
});

test('when the command has ended, the digest says whether all of it is kept, and nothing more is taken', async () => {
  const output = Buffer.from('all of it');
  const [whole, short, changed, unsent] = await Promise.all(
    ['whole', 'short', 'changed', 'unsent'].map((name) => worker.printing(name)),
  );
  for (const run of [whole!, short!, changed!]) await worker.append(run, 0, output);
  expect((await listed(whole!))[0]).toMatchObject({ delivery: 1, name: 'stdout', sha256: null, complete: null });
  await worker.ends(whole!, 'completed', { stdout: printed(output), stderr: printed(Buffer.alloc(0)) });
  await worker.ends(short!, 'completed', { stdout: printed(Buffer.from('all of it and more')) });
  await worker.ends(changed!, 'completed', { stdout: printed(Buffer.from('ALL OF IT')) });
  await worker.ends(unsent!, 'completed', { stdout: printed(output) });
  await checkDigests(api.db, store);
  const digest = sha256(output);
  expect(await listed(whole!)).toMatchObject([
    { name: 'stderr', size: 0, sha256: sha256(''), complete: true },
    {
      name: 'stdout',
      size: 9,
      sha256: digest,
      complete: true,
      deleted_at: null,
      media_type: 'application/octet-stream',
    },
  ]);
  expect(await listed(short!)).toMatchObject([{ size: 9, complete: false }]);
  expect(await listed(changed!)).toMatchObject([{ size: 9, sha256: digest, complete: false }]);
  expect(await listed(unsent!)).toMatchObject([{ size: 0, complete: false }]);

  expect((await worker.append(whole!, 9, 'more')).status).toBe(409);
  expect(sizeOf(await worker.append(whole!, 0, output))).toBe(9);
  const answer = await bytesOf(whole!);
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    etag: `"sha256-${digest}"`,
    'content-length': '9',
    'x-content-type-options': 'nosniff',
    'content-type': 'application/octet-stream',
    'content-disposition': `attachment; filename="${whole!.workId}-1-stdout"`,
  });
  expect((await bytesOf(whole!, { 'if-none-match': `"sha256-${digest}"` })).status).toBe(304);
  const record = (await api.ask('GET', `/api/workloads/${whole!.workId}`)).body;
  expect(record.deliveries[0]!.artifacts).toMatchObject([{ name: 'stderr' }, { name: 'stdout', sha256: digest }]);
});

test('a range of bytes is answered; one behind the end is refused', async () => {
  const run = await worker.printing('range');
  await worker.append(run, 0, '0123456789');
  const ask = async (range: string): Promise<[number, string, string | null]> => {
    const { status, bytes, headers } = await bytesOf(run, { range });
    return [status, status === 416 ? '' : bytes.toString(), headers.get('content-range')];
  };
  expect(await ask('bytes=2-4')).toEqual([206, '234', 'bytes 2-4/10']);
  expect(await ask('bytes=7-')).toEqual([206, '789', 'bytes 7-9/10']);
  expect(await ask('bytes=-3')).toEqual([206, '789', 'bytes 7-9/10']);
  expect(await ask('bytes=5-99')).toEqual([206, '56789', 'bytes 5-9/10']);
  expect(await ask('bytes=10-')).toEqual([416, '', 'bytes */10']);
  expect(await ask('bytes=0-1,3-4')).toEqual([200, '0123456789', null]);
});

test('another tenant, another name and a way out of the folder are not found', async () => {
  const run = await worker.printing('tenant');
  await worker.append(run, 0, 'secret');
  writeFileSync(path.join(store.folder, 'outside'), 'outside');
  const other = await api.newToken(['admin'], 'other');
  const base = `/api/workloads/${run.workId}`;
  for (const where of ['artifacts', 'artifacts/1/stdout', 'output']) {
    expect([where, (await api.ask('GET', `${base}/${where}`, { token: other })).status]).toEqual([where, 404]);
  }
  const events = await api.newToken(['events:write']);
  expect((await api.ask('GET', `${base}/artifacts/1/stdout`, { token: events })).status).toBe(403);
  for (const where of ['1/stderr', '2/stdout', '0/stdout', '1/..%2F..%2F..%2Foutside', '1/%2e%2e', '1/STDOUT']) {
    expect([where, (await api.ask('GET', `${base}/artifacts/${where}`)).status]).toEqual([where, 404]);
  }
});

test('output is taken under the lease only; also under the closed one of a cancelled delivery', async () => {
  const run = await worker.printing('fenced');
  await worker.append(run, 0, 'before ');
  await api.ask('POST', `/api/workloads/${run.workId}/cancel`, { json: { reason: 'enough' } });
  expect(sizeOf(await worker.append(run, 7, 'after'))).toBe(12);
  const foreign = await worker.append({ ...run, lease: 'made-up' }, 12, 'x');
  expect([foreign.status, foreign.body.code]).toEqual([409, 'lease.stale']);
  const stranger = await PrintingWorker.enrol(api, 'w2');
  expect((await stranger.append(run, 12, 'x')).body.code).toBe('lease.stale');
  expect((await bytesOf(run)).bytes.toString()).toBe('before after');
});

test('what is no piece of output is refused', async () => {
  const run = await worker.printing('bad');
  const post = (query: string, raw: Uint8Array<ArrayBuffer>, type = 'application/octet-stream') =>
    api.ask('POST', `/api/workers/w1/leases/${run.workId}/output?${query}`, {
      token: worker.credential,
      raw,
      headers: { 'Lease-Token': run.lease, 'content-type': type },
    });
  const small = new Uint8Array(1);
  expect((await post('stream=stdin&offset=0', small)).body.code).toBe('request.invalid');
  expect((await post('stream=stdout&offset=-1', small)).body.code).toBe('request.invalid');
  expect((await post('stream=stdout', small)).body.code).toBe('request.invalid');
  expect((await post('stream=stdout&offset=0', small, 'text/plain')).status).toBe(415);
  const large = await post('stream=stdout&offset=0', new Uint8Array(1024 * 1024 + 1));
  expect([large.status, large.body.code, large.body.detail]).toEqual([
    413,
    'request.too_large',
    'The body is larger than 1024 KiB.',
  ]);
  const claimed = await worker.queued('no-intent');
  expect((await worker.append({ workId: claimed, lease: 'x' }, 0, 'x')).body.code).toBe('lease.stale');
});

test('no more than 32 MiB of a stream are kept', async () => {
  const run = await worker.printing('limit');
  await worker.append(run, 0, 'x');
  await api.db.query('UPDATE artifacts SET size = $2 WHERE workload_id = $1', [run.workId, 32 * 1024 * 1024 - 4]);
  truncateSync(fileOf(run), 32 * 1024 * 1024 - 4);
  const over = await worker.append(run, 32 * 1024 * 1024 - 4, '12345');
  expect([over.status, over.body.code]).toEqual([413, 'artifacts.too_large']);
  expect((await worker.append(run, 32 * 1024 * 1024 - 4, '1234')).status).toBe(200);
});

test('bytes behind the recorded size are none; bytes that are gone are told so', async () => {
  const run = await worker.printing('torn');
  await worker.append(run, 0, 'whole');
  writeFileSync(fileOf(run), 'wholetorn and long');
  expect((await bytesOf(run)).bytes.toString()).toBe('whole');
  await worker.append(run, 5, '!');
  expect(readFileSync(fileOf(run), 'utf8')).toBe('whole!');
  truncateSync(fileOf(run), 2);
  expect((await bytesOf(run)).status).toBe(410);
  expect((await worker.append(run, 6, 'x')).status).toBe(410);
});

test('without a store nothing is kept, and nothing is written', async () => {
  const without = await startTestApi();
  try {
    await without.ask('PUT', '/api/policy', { json: { source: DISPATCH_ALL } });
    const elsewhere = await PrintingWorker.enrol(without, 'w1');
    const run = await elsewhere.printing('none');
    const answer = await elsewhere.append(run, 0, 'x');
    expect([answer.status, answer.body.code]).toEqual([404, 'artifacts.not_kept']);
    expect((await without.ask('GET', `/api/workloads/${run.workId}/output`)).body.code).toBe('artifacts.not_kept');
    expect((await without.ask('GET', `/api/workloads/${run.workId}/artifacts`)).text).toBe('{"artifacts":[]}');
    expect(existsSync(fileOf(run))).toBe(false);
  } finally {
    await without.stop();
  }
});
