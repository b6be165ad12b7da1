import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

const folders: string[] = [];

/**
 * A new folder, deleted after the test file. Its path is short unless `parent` is long, so that Unix sockets fit. It lies in the
 * folder of the test run, by which the next run finds what a killed one left.
 */
export function temporaryFolder(options: { mode?: number; parent?: string } = {}): string {
  const parent = options.parent ?? process.env['WORKLOADD_TEST_FOLDER'] ?? os.tmpdir();
  mkdirSync(parent, { recursive: true });
  const folder = mkdtempSync(path.join(parent, 'wl-'));
  chmodSync(folder, options.mode ?? 0o700);
  folders.push(folder);
  return folder;
}

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
