import { existsSync } from 'node:fs';
import path from 'node:path';
import { openDataDir } from '../../workers/data-dir-lock';
import { eventually } from '../support/eventually';
import { startWorkloadd } from '../support/processes';
import { newDataDir, processesOf, startUpProcess } from '../support/up';

async function expectNothingLeft(dataDir: string): Promise<void> {
  expect(processesOf(dataDir)).toEqual([]);
  expect(existsSync(path.join(dataDir, 'opencrow', 'lifecycle.sock'))).toBe(false);
  const lock = await openDataDir(dataDir);
  await lock.release();
}

test('up, told to stop, leaves no process, socket or lock, and exits 0', async () => {
  const dataDir = newDataDir();
  const up = await startUpProcess(dataDir);
  expect(existsSync(path.join(dataDir, 'opencrow', 'lifecycle.sock'))).toBe(true);
  expect(processesOf(dataDir).length).toBeGreaterThanOrEqual(3);
  expect(await up.process.terminate()).toEqual({ code: 0, signal: null });
  await expectNothingLeft(dataDir);
}, 120_000);

test('a stop in the middle of the start leaves nothing either, and exits 0', async () => {
  const dataDir = newDataDir();
  const up = startWorkloadd(['up', '--data-dir', dataDir, '--listen', '127.0.0.1:0'], {
    DATABASE_URL: '',
    TEMPORAL_ADDRESS: '',
  });
  await eventually(() => processesOf(dataDir).length > 1);
  expect(up.stdout).not.toContain('is up');
  expect(await up.terminate()).toEqual({ code: 0, signal: null });
  await expectNothingLeft(dataDir);
}, 120_000);

test('a second signal ends it at once, and the next start takes over', async () => {
  const dataDir = newDataDir();
  const up = await startUpProcess(dataDir);
  up.process.signal('SIGINT');
  up.process.signal('SIGINT');
  const { code } = await up.process.ended;
  expect([0, 130]).toContain(code);
  const again = await startUpProcess(dataDir);
  expect(again.token).toBe(up.token);
  expect(await again.process.terminate()).toEqual({ code: 0, signal: null });
}, 120_000);
