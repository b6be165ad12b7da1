import { symlinkSync } from 'node:fs';
import path from 'node:path';
import { openDataDir } from '../workers/data-dir-lock';
import { eventually } from './support/eventually';
import { startScript } from './support/processes';
import type { TestProcess } from './support/processes';
import { temporaryFolder } from './support/temporary-folder';

const HOLD = `
  const [folder] = process.argv.slice(1);
  require('$dist/workers/data-dir-lock').openDataDir(folder).then(
    () => { console.log('holding'); setInterval(() => {}, 1000); },
    (error) => { console.error(error.message); process.exit(3); },
  );
`;

async function holderOf(folder: string): Promise<TestProcess> {
  const holder = startScript(HOLD, [folder]);
  await holder.output(/holding/);
  return holder;
}

describe('the lock of a data dir', () => {
  test('refuses a second process and names the first', async () => {
    const folder = temporaryFolder();
    const holder = await holderOf(folder);

    const second = startScript(HOLD, [folder]);

    await expect(second.ended).resolves.toEqual({ code: 3, signal: null });
    expect(second.stderr).toContain(`another workloadd (pid ${holder.pid}) is using ${folder}`);
    expect(holder.isRunning).toBe(true);
  });

  test('is one lock for all paths of the folder', async () => {
    const folder = temporaryFolder();
    const link = path.join(temporaryFolder(), 'link');
    symlinkSync(folder, link);
    const holder = await holderOf(folder);

    await expect(openDataDir(link)).rejects.toThrow(`(pid ${holder.pid}) is using ${folder}`);
  });

  test('is free at once after kill -9 of its holder', async () => {
    const folder = temporaryFolder();
    const holder = await holderOf(folder);
    await holder.kill9();

    const dataDir = await openDataDir(folder);
    await dataDir.release();
  });

  test('is free after its release, and different folders do not disturb each other', async () => {
    const [one, other] = [temporaryFolder(), temporaryFolder()];
    const first = await openDataDir(one);
    const second = await openDataDir(other);
    await expect(openDataDir(one)).rejects.toThrow(`(pid ${process.pid})`);

    await first.release();

    await (await openDataDir(one)).release();
    await second.release();
  });

  test('goes to exactly one of many that ask at the same moment', async () => {
    const folder = temporaryFolder();
    const rivals = Array.from({ length: 6 }, () => startScript(HOLD, [folder]));

    await eventually(() => rivals.filter((rival) => !rival.isRunning).length === rivals.length - 1);

    const [winner] = rivals.filter((rival) => rival.isRunning);
    await winner!.output(/holding/);
    for (const loser of rivals.filter((rival) => rival !== winner)) {
      expect(loser.stderr).toContain(`pid ${winner!.pid}`);
    }
  });
});
