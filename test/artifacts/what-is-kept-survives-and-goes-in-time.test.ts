import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { FolderStore } from '../../api/artifacts/folder-store';
import { artifactsOf, deleteOldArtifacts } from '../../ledger/artifacts';
import type { TestApi } from '../support/api-server';
import { eventually } from '../support/eventually';
import { startPrinting, type PrintingWorker } from '../support/printing-worker';
import { startWorkloadd } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

let api: TestApi;
let store: FolderStore;
let worker: PrintingWorker;
beforeAll(async () => {
  ({ api, store, worker } = await startPrinting());
});
afterAll(() => api.stop());

const sizeKept = async (workId: string): Promise<number | undefined> =>
  (await artifactsOf(api.db, 'default', workId))?.[0]?.size;

test('an api killed between file and ledger has kept nothing of the piece, and the next append takes its place', async () => {
  const run = await worker.printing('killed');
  await worker.append(run, 0, 'kept ');
  const file = path.join(store.folder, run.workId, '1', 'stdout');
  const doomed = startWorkloadd(['api', '--listen', '127.0.0.1:0', '--artifacts-dir', store.folder], {
    DATABASE_URL: api.databaseUrl,
    WORKLOADD_DEBUG_POINT: 'output-written',
  });
  try {
    const [, url] = await doomed.output(/"url":"(http:[^"]+)"/, 60_000);
    await expect(worker.append(run, 5, 'never told and long', { url: url! })).rejects.toThrow();
    expect(await doomed.ended).toEqual({ code: null, signal: 'SIGKILL' });
  } finally {
    await doomed.kill9();
  }
  expect(readFileSync(file, 'utf8')).toBe('kept never told and long');
  expect(await sizeKept(run.workId)).toBe(5);
  const bytes = async (): Promise<string> =>
    (await api.ask('GET', `/api/workloads/${run.workId}/artifacts/1/stdout`)).text;
  expect(await bytes()).toBe('kept ');
  // Postgres notices at its own pace that the process is gone, and keeps the row locked until then.
  await eventually(async () => (await worker.append(run, 5, 'again')).status === 200);
  expect([await bytes(), readFileSync(file, 'utf8')]).toEqual(['kept again', 'kept again']);
}, 90_000);

test('bytes of workloads that ended long ago are deleted, a bounded number at a time; their rows say when', async () => {
  const [old, killed, recent, open] = await Promise.all(
    ['old', 'half-deleted', 'recent', 'open'].map((name) => worker.printing(name)),
  );
  const all = [old!, killed!, recent!, open!];
  for (const run of all) await worker.append(run, 0, 'bytes');
  for (const run of [old!, killed!, recent!]) await worker.ends(run, 'completed');
  await api.db.query("UPDATE workloads SET ended_at = ended_at - interval '2 days' WHERE workload_id = ANY($1)", [
    [old!.workId, killed!.workId],
  ]);
  // A process died after it had removed the bytes.
  await store.remove({ workloadId: killed!.workId, delivery: 1, name: 'stdout' });
  const pass = (): Promise<number> => deleteOldArtifacts(api.db, 86_400_000, (key) => store.remove(key), 1);
  expect([await pass(), await pass(), await pass()]).toEqual([1, 1, 0]);
  expect(readdirSync(store.folder)).toEqual(expect.not.arrayContaining([old!.workId, killed!.workId]));
  for (const run of [recent!, open!]) expect(existsSync(path.join(store.folder, run.workId, '1', 'stdout'))).toBe(true);
  expect(await artifactsOf(api.db, 'default', old!.workId)).toMatchObject([
    { size: 5, deleted_at: expect.stringMatching(/Z$/) },
  ]);
  for (const where of ['artifacts/1/stdout', 'output']) {
    const answer = await api.ask('GET', `/api/workloads/${old!.workId}/${where}`);
    expect([answer.status, answer.body.code]).toEqual([410, 'artifacts.gone']);
  }
});

const DIST = path.join(__dirname, '..', '..', 'dist', 'api', 'artifacts', 'folder-store.js');
/** On a file system of 256 KiB: fills it, and tells what became of each append and how long the file was. */
const FILL = `
  const { FolderStore } = require(process.argv[1]);
  const fs = require('node:fs');
  const store = FolderStore.open(process.argv[2]);
  const key = { workloadId: 'wl_' + 'a'.repeat(32), delivery: 1, name: 'stdout' };
  const file = process.argv[2] + '/' + key.workloadId + '/1/stdout';
  const told = [];
  (async () => {
    for (const [offset, length] of [[0, 65536], [65536, 1048576], [65536, 65536]]) {
      const result = await store.append(key, offset, Buffer.alloc(length, 'x')).then(() => 'kept', (error) => error.code);
      told.push([result, fs.statSync(file).size]);
    }
    console.log(JSON.stringify(told));
  })();
`;
const onSmallDisk = (command: string[], folder: string) =>
  spawnSync('unshare', ['-rm', 'sh', '-c', 'mount -t tmpfs -o size=256k none "$0" && exec "$@"', folder, ...command], {
    encoding: 'utf8',
  });
const canMount = onSmallDisk(['true'], process.cwd()).status === 0;

(canMount ? test : test.skip)(
  'a full disk is told, nothing of the piece stays, and what fits is kept again (skipped where nothing can be mounted)',
  () => {
    const folder = temporaryFolder();
    const run = onSmallDisk([process.execPath, '-e', FILL, DIST, folder], folder);
    expect(run.stderr).toBe('');
    expect(JSON.parse(run.stdout)).toEqual([
      ['kept', 65_536],
      ['artifacts.no_room', 65_536],
      ['kept', 131_072],
    ]);
  },
);
