import { createServer, type Server } from 'node:net';
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openTriggerPipe } from '../../executors/opencrow/trigger-pipe';
import { TestFifo } from '../support/fifo';
import { temporaryFolder } from '../support/temporary-folder';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

const refused = (reason: string) => ({ ok: false, reason });

test('no reader: ENXIO at once, not a hanging open', () => {
  const fifo = new TestFifo();
  const started = Date.now();
  for (let n = 0; n < 50; n += 1) expect(openTriggerPipe(fifo.path)).toEqual(refused('ENXIO'));
  expect(Date.now() - started).toBeLessThan(1_000);
});

test('no file: ENOENT, and none is made', () => {
  const path = join(temporaryFolder(), 'trigger.pipe');
  expect(openTriggerPipe(path)).toEqual(refused('ENOENT'));
  expect(() => readFileSync(path)).toThrow('ENOENT');
});

test('a full pipe: EAGAIN, nothing of the line is in it', () => {
  const fifo = new TestFifo().openReader();
  const opening = openTriggerPipe(fifo.path);
  if (!opening.ok) throw new Error(opening.reason);
  let written = 0;
  while (opening.pipe.write('f'.repeat(4_000)).result === 'written') written += 1;
  expect(written).toBeGreaterThanOrEqual(15);
  expect(opening.pipe.write('o'.repeat(4_000))).toEqual({ result: 'not_delivered', reason: 'EAGAIN' });
  const content = fifo.read();
  expect(content).toHaveLength(written * 4_002);
  expect(content).not.toContain('o');
  expect(opening.pipe.write('later')).toEqual({ result: 'written' });
  expect(fifo.read()).toBe('\nlater\n');
  opening.pipe.close();
  fifo.closeReader();
});

test('a reader that goes away before the write: EPIPE, not delivered', () => {
  const fifo = new TestFifo().openReader();
  const opening = openTriggerPipe(fifo.path);
  if (!opening.ok) throw new Error(opening.reason);
  fifo.closeReader();
  expect(opening.pipe.write('line')).toEqual({ result: 'not_delivered', reason: 'EPIPE' });
  opening.pipe.close();
});

test('a regular file, a folder, a socket or a symbolic link is no trigger pipe and is left alone', async () => {
  const folder = temporaryFolder();
  const [file, directory, socket, link, dangling] = ['file', 'dir', 'sock', 'link', 'dangling'].map((name) =>
    join(folder, name),
  ) as [string, string, string, string, string];
  writeFileSync(file, 'kept');
  mkdirSync(directory);
  const server = createServer().listen(socket);
  servers.push(server);
  await new Promise((listening) => server.once('listening', listening));
  const fifo = new TestFifo().openReader();
  symlinkSync(fifo.path, link);
  symlinkSync(join(folder, 'nowhere'), dangling);
  expect(openTriggerPipe(file)).toEqual(refused('not_a_fifo'));
  expect(readFileSync(file, 'utf8')).toBe('kept');
  expect(openTriggerPipe(directory)).toEqual(refused('not_a_fifo'));
  expect(openTriggerPipe(socket)).toEqual(refused('not_a_fifo'));
  expect(openTriggerPipe(link)).toEqual(refused('symlink'));
  expect(openTriggerPipe(dangling)).toEqual(refused('symlink'));
  rmSync(link);
  fifo.closeReader();
});
