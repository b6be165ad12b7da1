import { setTimeout as sleep } from 'node:timers/promises';
import { formatDuration, parseDuration } from '../contracts/duration';
import { CommandFailed, EXIT } from './exit-codes';
import { Interrupts } from './interrupts';

const DEFAULT_MS = 2000;
const [LEAST_MS, MOST_MS] = [1000, 3_600_000];

/** Milliseconds between two rounds, of what `--watch [INTERVAL]` gives; undefined when it was not asked for. */
export function intervalOf(watch: string | true | undefined): number | undefined {
  if (watch === undefined) return undefined;
  if (watch === true) return DEFAULT_MS;
  const milliseconds = parseDuration(watch);
  if (milliseconds !== null && milliseconds >= LEAST_MS && milliseconds <= MOST_MS) return milliseconds;
  throw new CommandFailed('--watch must be a duration from 1s to 1h, for example 5s', EXIT.usage);
}

export interface WatchOptions {
  intervalMs: number;
  /** Nothing but what a round gives, a line each, also on a terminal. */
  plain: boolean;
  /** What to say of a round that failed. */
  failureText: (error: unknown) => string;
}

/**
 * Shows what `round` gives until Ctrl-C, SIGTERM, or a reader that went away: in place on a terminal, one after the other elsewhere.
 * The first round fails as a single one would; a later one that fails is told of, and the next one follows. A round is as bounded as
 * the ledger's statements are. A second Ctrl-C leaves without waiting for one.
 */
export async function watchRounds(
  round: () => Promise<string>,
  { intervalMs, plain, failureText }: WatchOptions,
): Promise<void> {
  const interrupts = new Interrupts();
  const readerLeft = new AbortController();
  const onLost = (): void => readerLeft.abort();
  process.stdout.on('error', onLost);
  void interrupts.second.then(() => process.exit(EXIT.forced));
  const signal = AbortSignal.any([interrupts.signal, readerLeft.signal]);
  const screen = plain || !process.stdout.isTTY ? null : new Screen(intervalMs);
  try {
    let last = await round();
    while (!signal.aborted) {
      if (screen) screen.draw(last);
      else process.stdout.write(plain ? `${last}\n` : `${timeText()}\n${last}\n\n`);
      for (;;) {
        await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) return;
        try {
          last = await round();
          break;
        } catch (error) {
          if (screen) screen.draw(last, failureText(error));
          else console.error(failureText(error));
        }
      }
    }
  } finally {
    interrupts.stop();
    process.stdout.off('error', onLost);
  }
}

const timeText = (): string => new Date().toISOString().replace(/\.\d+Z$/, 'Z');

const [HOME, CLEAR_LINE, CLEAR_BELOW, CLEAR_ALL] = ['\x1b[H', '\x1b[K', '\x1b[J', '\x1b[2J'];

/** A terminal whose content is drawn again in place. */
class Screen {
  private isClear = false;

  constructor(private readonly intervalMs: number) {}

  draw(text: string, trouble?: string): void {
    const title = trouble ?? `${timeText()}, every ${formatDuration(this.intervalMs)}; Ctrl-C ends`;
    const lines = cutToSize([title.replaceAll('\n', ' '), '', ...text.split('\n')], process.stdout);
    const drawn = lines.map((line) => `${line}${CLEAR_LINE}\n`).join('');
    process.stdout.write(`${this.isClear ? '' : CLEAR_ALL}${HOME}${drawn}${CLEAR_BELOW}`);
    this.isClear = true;
  }
}

/** As much of these lines as a terminal of that size shows without moving; says how many are left out. */
export function cutToSize(
  lines: readonly string[],
  { columns = 80, rows = 24 }: { columns?: number; rows?: number },
): string[] {
  const room = Math.max(1, rows - 1);
  const left = lines.length - room + 1;
  const shown = lines.length <= room ? lines : [...lines.slice(0, room - 1), `… ${left} more lines`];
  return shown.map((line) => [...line].slice(0, columns).join(''));
}
