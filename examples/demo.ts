import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, InvalidArgumentError } from 'commander';
import { readExampleEvents } from './demo/example-event';
import { progressOn, type Progress } from './demo/progress';
import { runExamples, type Result } from './demo/run-examples';
import { Stage } from './demo/stage';
import { nextSteps, paceOf, summaryLines, totalsOf, type Addresses } from './demo/summary';
import { wantsColours } from './demo/text-table';

interface Flags {
  json?: boolean;
  keep?: boolean;
  timeout: number;
}

const POLICY = join(__dirname, 'demo-policy.yaml');
const EVENTS = join(__dirname, 'events');
const WIDTH = 200;

async function main(flags: Flags): Promise<number> {
  const startedAt = Date.now();
  const out = flags.json ? process.stderr : process.stdout;
  const stop = stopOnSignal(out);
  const progress = progressOn(out);
  const stage = new Stage((text) => progress.note(text));
  try {
    const { results, addresses } = await play(stage, progress, flags, stop);
    progress.close();
    report(results, addresses, { out, startedAt, flags });
    if (flags.keep) await Promise.race([stage.brokenDown(), aborted(stop)]);
    return totalsOf(results).ok ? 0 : 1;
  } catch (error) {
    progress.close();
    if (stop.aborted) return 130;
    out.write(`\nThe demo broke down: ${reasonOf(await deeperReason(stage, error))}\n`);
    for (const line of stage.complaints()) out.write(`  ${line}\n`);
    if (flags.json) console.log(JSON.stringify({ events: 0, decisions: {}, outcomes: {}, ok: false }));
    return 1;
  } finally {
    if (flags.keep || stop.aborted) out.write('Stopping everything.\n');
    await stage.close();
  }
}

async function play(
  stage: Stage,
  progress: Progress,
  flags: Flags,
  signal: AbortSignal,
): Promise<{ results: Result[]; addresses: Addresses }> {
  const examples = readExampleEvents(EVENTS);
  progress.note('starting Postgres, Temporal, workloadd and a simulated OpenCrow');
  const stopped = aborted(signal).then(() => Promise.reject(new Error('stopped')));
  const service = await Promise.race([stage.start(examples, POLICY), stopped]);
  progress.note(`everything is up: API ${service.apiUrl}, Temporal Web UI ${service.temporalUiUrl}`);
  const run = runExamples(examples, {
    api: stage.api,
    restartOpenCrow: () => stage.killOpenCrow(),
    onLook: (runs) => progress.show(runs),
    onNote: (text) => progress.note(text),
    timeoutMs: flags.timeout * 1000,
    signal,
  });
  const results = await Promise.race([run, stage.brokenDown(), stopped]);
  return { results, addresses: service };
}

function report(
  results: readonly Result[],
  addresses: Addresses,
  { out, startedAt, flags }: { out: NodeJS.WriteStream; startedAt: number; flags: Flags },
): void {
  const lines = ['', ...summaryLines(results, out.columns ?? WIDTH, wantsColours(out))];
  const pace = paceOf(results, startedAt);
  if (pace)
    lines.push(
      `The first work ended after ${pace.firstEnd.toFixed(1)} s, the last after ${pace.lastEnd.toFixed(1)} s.`,
    );
  out.write(`${[...lines, '', ...nextSteps(results, addresses, flags.keep ?? false)].join('\n')}\n`);
  if (flags.json) console.log(JSON.stringify(totalsOf(results)));
}

/** Aborted by the first Ctrl-C (or SIGTERM, SIGHUP); further ones are answered with patience. */
function stopOnSignal(out: NodeJS.WritableStream): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) out.write('Still stopping, so that nothing is left behind.\n');
      stop.abort();
    });
  }
  return stop.signal;
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** A request fails a moment before the process that should have answered it is seen to be gone. */
function deeperReason(stage: Stage, error: unknown): Promise<unknown> {
  return Promise.race([stage.brokenDown().catch((why: unknown) => why), sleep(500, error)]);
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause ? `${error.message}: ${reasonOf(error.cause)}` : error.message;
}

function positive(text: string): number {
  if (/^[1-9]\d{0,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number of seconds, at least 1.');
}

new Command('npm run demo --')
  .description(
    'Runs the main job from end to end: posts the events of examples/events to a workloadd of its own, follows the workloads, ' +
      'and checks that each ended as its file says. Exit code 0 when all did, else 1.',
  )
  .option('--json', 'progress on stderr, and one JSON object as the last line of stdout')
  .option('--keep', 'leave everything up at the end, until Ctrl-C')
  .option('--timeout <seconds>', 'longest time for the events to end', positive, 180)
  .action(async (flags: Flags) => {
    process.exitCode = await main(flags);
  })
  .parseAsync()
  .catch((error: unknown) => {
    console.error(reasonOf(error));
    process.exitCode = 1;
  });
