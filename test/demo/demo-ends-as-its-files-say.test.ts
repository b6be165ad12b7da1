import { readdirSync } from 'node:fs';
import path from 'node:path';
import { commandLineOf, findProcesses } from '../../ledger/background-process';
import { startProcess, type TestProcess } from '../support/processes';
import { temporaryFolder } from '../support/temporary-folder';

const ROOT = path.resolve(__dirname, '../..');
const EVENTS = readdirSync(path.join(ROOT, 'examples/events')).length;

/** Everything the demo makes and starts has this folder in its path or its arguments. */
const folder = temporaryFolder({ mode: 0o711 });

const startDemo = (...args: string[]): TestProcess =>
  startProcess(process.execPath, [path.join(ROOT, 'dist/examples/demo.js'), ...args], { env: { TMPDIR: folder } });

function left(): { files: string[]; processes: (string | undefined)[] } {
  const pids = findProcesses((args) => args.some((arg) => arg.includes(folder)));
  return { files: readdirSync(folder), processes: pids.map((pid) => commandLineOf(pid)?.join(' ')) };
}

test('every event ends as its file says, and nothing is left', async () => {
  const demo = startDemo('--json');
  const { code } = await demo.ended;
  if (code !== 0) throw new Error(`exit code ${code}\n${demo.stderr}`);
  const totals = JSON.parse(demo.stdout.trimEnd().split('\n').at(-1)!);
  expect(totals).toMatchObject({ events: EVENTS, ok: true });
  const sum = (counts: Record<string, number>): number => Object.values(counts).reduce((a, b) => a + b, 0);
  expect([sum(totals.decisions), sum(totals.outcomes)]).toEqual([EVENTS, EVENTS]);
  expect(Object.keys(totals.decisions).sort()).toEqual(['deny', 'dispatch', 'duplicate', 'hold', 'ignore']);
  expect(demo.stderr).toMatch(/Temporal Web UI: http:\/\/127\.0\.0\.1:\d+/);
  expect(left()).toEqual({ files: [], processes: [] });
}, 240_000);

test('a Ctrl-C in mid-run stops everything and leaves nothing', async () => {
  const demo = startDemo();
  await demo.output(/→ running/, 120_000);
  expect(left().processes).not.toEqual([]);
  demo.signal('SIGINT');
  expect(await demo.ended).toEqual({ code: 130, signal: null });
  expect(left()).toEqual({ files: [], processes: [] });
}, 240_000);
