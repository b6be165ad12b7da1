import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { LineScanner } from '../../examples/simulated-opencrow/line-scanner';
import { goTrimSpace } from '../../examples/simulated-opencrow/workload-grammar';
import { openTriggerPipe } from '../../executors/opencrow/trigger-pipe';
import { eventually } from '../support/eventually';
import { TestFifo } from '../support/fifo';
import { startScript } from '../support/processes';
import { startOpenCrow } from '../support/simulated-opencrow';
import { temporaryFolder } from '../support/temporary-folder';

const linesOf = (text: string): string[] => new LineScanner().push(Buffer.from(text)).map(goTrimSpace).filter(Boolean);

function write(path: string, line: string) {
  const opening = openTriggerPipe(path);
  if (!opening.ok) throw new Error(opening.reason);
  const write = opening.pipe.write(line);
  opening.pipe.close();
  return write;
}

test('a line of the full length arrives whole, between two newlines', () => {
  const fifo = new TestFifo().openReader();
  const line = 'x'.repeat(4094);
  expect(write(fifo.path, line)).toEqual({ result: 'written' });
  expect(fifo.read()).toBe(`\n${line}\n`);
  fifo.closeReader();
});

test("another writer's torn line does not swallow ours", () => {
  const fifo = new TestFifo().openReader();
  const other = openSync(fifo.path, constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(other, 'workload.v1 {"workload_id":"to');
  closeSync(other);
  expect(write(fifo.path, 'ours')).toEqual({ result: 'written' });
  expect(linesOf(fifo.read())).toEqual(['workload.v1 {"workload_id":"to', 'ours']);
  fifo.closeReader();
});

test('writers in several processes never mix their lines', async () => {
  const sessionDir = temporaryFolder();
  const crow = await startOpenCrow({ sessionDir });
  const script = `
    const { openTriggerPipe } = require('$dist/executors/opencrow/trigger-pipe.js');
    const [path, letter] = process.argv.slice(-2);
    let left = 40;
    while (left > 0) {
      const opening = openTriggerPipe(path);
      if (!opening.ok) throw new Error(opening.reason);
      if (opening.pipe.write(letter.repeat(4094)).result === 'written') left -= 1;
      opening.pipe.close();
    }`;
  const writers = ['a', 'b', 'c'].map((letter) => startScript(script, [crow.triggerPipe, letter]));
  expect(await Promise.all(writers.map((writer) => writer.ended))).toEqual(Array(3).fill({ code: 0, signal: null }));
  await eventually(() => crow.received().length === 120);
  const lines = crow.log().flatMap((line) => (line.type === 'received' ? [line.line] : []));
  expect(lines.filter((line) => /^(a{4094}|b{4094}|c{4094})$/.test(line))).toHaveLength(120);
});
