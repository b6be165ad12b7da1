import { chmodSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { closeContents, makePrivateFolder } from '../../ledger/private-files';
import { openDataDir } from '../../workers/data-dir-lock';
import { temporaryFolder } from '../support/temporary-folder';

const modeOf = (file: string): number => statSync(file).mode & 0o777;

function withUmask<T>(umask: number, work: () => T): T {
  const before = process.umask(umask);
  try {
    return work();
  } finally {
    process.umask(before);
  }
}

test('a new folder and those above it are closed to others, also under umask 0', () => {
  const parent = path.join(temporaryFolder(), 'a');
  const folder = withUmask(0, () => makePrivateFolder(path.join(parent, 'b'), 0o700));
  expect([modeOf(parent), modeOf(folder)]).toEqual([0o700, 0o700]);
});

test('a folder that was open is closed, and one that was closed is not opened', async () => {
  const open = path.join(temporaryFolder(), 'open');
  mkdirSync(open);
  chmodSync(open, 0o777);
  await (await openDataDir(open, 0o700)).release();
  expect(modeOf(open)).toBe(0o700);
  chmodSync(open, 0o777);
  expect(modeOf(makePrivateFolder(open, 0o711))).toBe(0o711);
  chmodSync(open, 0o700);
  expect(modeOf(makePrivateFolder(open, 0o711))).toBe(0o700);
});

test('files that lay open are closed; what a symbolic link points to is left alone', () => {
  const folder = temporaryFolder();
  const elsewhere = path.join(temporaryFolder(), 'elsewhere');
  for (const file of [path.join(folder, 'admin.token'), elsewhere]) {
    writeFileSync(file, 'x');
    chmodSync(file, 0o666);
  }
  for (const name of ['workers', 'shared']) {
    mkdirSync(path.join(folder, name));
    chmodSync(path.join(folder, name), 0o777);
  }
  symlinkSync(elsewhere, path.join(folder, 'link'));
  closeContents(folder, ['workers']);
  expect(modeOf(path.join(folder, 'admin.token'))).toBe(0o600);
  expect(modeOf(path.join(folder, 'workers'))).toBe(0o700);
  expect(modeOf(path.join(folder, 'shared'))).toBe(0o777);
  expect(modeOf(elsewhere)).toBe(0o666);
});
