import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { LogLine } from '../../examples/simulated-opencrow/simulated-opencrow';
import { eventually } from '../support/eventually';
import { startOpenCrow, type OpenCrowProcess } from '../support/simulated-opencrow';
import { temporaryFolder } from '../support/temporary-folder';

const lineOf = (id: string, extra = ''): string =>
  `workload.v1 {"workload_id":"${id}","event_id":"ev-${id}","source":"rss","action":"triage"${extra}}\n`;

function write(crow: OpenCrowProcess, text: string): void {
  const fd = openSync(crow.triggerPipe, constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(fd, text);
  closeSync(fd);
}

const emitted = (crow: OpenCrowProcess): string[] =>
  crow
    .log()
    .flatMap((line) =>
      line.type === 'emitted' ? [`${line.workload_id} ${line.status} ${line.inbox_id}:${line.attempt}`] : [],
    );
const ofType = (crow: OpenCrowProcess, type: LogLine['type']): LogLine[] =>
  crow.log().filter((line) => line.type === type);
const rule = (id: string, behaviour: string, more: object = {}) => ({ match: { workload_id: id }, behaviour, ...more });

test('each behaviour gives the recorded events; the same line twice is executed twice', async () => {
  const rules = [
    rule('suppress', 'suppress_reply'),
    rule('fail', 'fail', { prompts: 2 }),
    rule('abort', 'abort'),
    rule('preempt', 'preempt_then_complete'),
    rule('lose-end', 'lose_terminal'),
    rule('lose-start', 'lose_running'),
    rule('double', 'duplicate_events'),
  ];
  const crow = await startOpenCrow({ sessionDir: temporaryFolder(), script: { rules } });
  const ids = ['plain', 'plain', 'suppress', 'fail', 'abort', 'preempt', 'lose-end', 'lose-start', 'double'];
  write(crow, ids.map((id) => lineOf(id)).join(''));
  // Ids 1 to 9 are the lines; 10 is the chat message, 11 the preempted workload, back at the tail.
  await eventually(() => emitted(crow).at(-1) === 'preempt completed 11:2');
  expect(emitted(crow)).toEqual([
    ...['plain running 1:1', 'plain completed 1:1', 'plain running 2:1', 'plain completed 2:1'],
    ...['suppress running 3:1', 'suppress completed 3:1', 'fail running 4:1', 'fail failed 4:1'],
    ...['abort running 5:1', 'abort aborted 5:1', 'preempt running 6:1', 'preempt preempted 6:1'],
    ...['lose-end running 7:1', 'lose-start completed 8:1'],
    ...['double running 9:1', 'double running 9:1', 'double completed 9:1', 'double completed 9:1'],
    ...['preempt running 11:2', 'preempt completed 11:2'],
  ]);
  expect(ofType(crow, 'prompt').filter((line) => 'workload_id' in line && line.workload_id === 'fail')).toHaveLength(2);
});

test('a bad line is taken as a plain trigger; a line too long ends the reader for good', async () => {
  const crow = await startOpenCrow({ sessionDir: temporaryFolder() });
  write(crow, `\n  \nworkload.v1 {"workload_id":"x"}\nworkload.v2 {}\n${lineOf('good')}`);
  await eventually(() => crow.received().length === 3);
  expect(crow.received()).toEqual([null, null, 'good']);
  const fd = openSync(crow.triggerPipe, constants.O_WRONLY);
  writeSync(fd, `${'y'.repeat(65_535)}\n`);
  await eventually(() => crow.received().length === 4);
  const tooLong = Buffer.from(`${'z'.repeat(65_536)}\n`);
  writeSync(fd, tooLong, 0, 65_536);
  await eventually(() => ofType(crow, 'scanner_died').length === 1);
  closeSync(fd);
  await eventually(() => {
    try {
      write(crow, lineOf('nobody reads'));
      return false;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENXIO';
    }
  });
  expect(crow.isRunning).toBe(true);
});

test('killed in mid-run it forgets what ran and runs what waited', async () => {
  const sessionDir = temporaryFolder();
  const script = { rules: [rule('gone', 'crash')] };
  const first = await startOpenCrow({ sessionDir, script });
  write(first, lineOf('gone') + lineOf('waits'));
  expect(await first.ended).toMatchObject({ signal: 'SIGKILL' });
  const second = await startOpenCrow({ sessionDir, script });
  await eventually(() => emitted(second).length === 3);
  expect(emitted(second)).toEqual(['gone running 1:1', 'waits running 2:1', 'waits completed 2:1']);
});

test('a silent agent heeds neither chat nor stop; SIGTERM puts the workload back', async () => {
  const sessionDir = join(temporaryFolder(), 's');
  const crow = await startOpenCrow({
    sessionDir,
    script: { rules: [rule('deaf', 'silent'), rule('next', 'complete')] },
  });
  write(crow, lineOf('deaf') + lineOf('next'));
  await eventually(() => emitted(crow).length === 1);
  crow.say('chat hello');
  crow.say('stop');
  crow.say('quit');
  expect(await crow.ended).toEqual({ code: 0, signal: null });
  expect(emitted(crow)).toEqual(['deaf running 1:1', 'deaf preempted 1:1']);
  const again = await startOpenCrow({ sessionDir });
  await eventually(() => emitted(again).length === 6);
  expect(emitted(again).slice(2)).toEqual([
    'next running 2:1',
    'next completed 2:1',
    'deaf running 4:2',
    'deaf completed 4:2',
  ]);
});

test('stop aborts what runs; a polite agent answers a chat message by ending early', async () => {
  const slow = { after_ms: 60_000 };
  const rules = [rule('long', 'complete', slow), rule('polite', 'complete', { ...slow, on_chat: 'polite' })];
  const crow = await startOpenCrow({ sessionDir: temporaryFolder(), script: { rules } });
  write(crow, lineOf('long') + lineOf('polite'));
  await eventually(() => emitted(crow).length === 1);
  crow.say('stop');
  await eventually(() => emitted(crow).length === 3);
  crow.say('chat hello');
  await eventually(() => emitted(crow).length === 4);
  expect(emitted(crow)).toEqual(['long running 1:1', 'long aborted 1:1', 'polite running 2:1', 'polite completed 2:1']);
});
