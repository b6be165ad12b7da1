import type { Run } from './run-examples';
import { formatTable, stateCell, styled, wantsColours, type Cell } from './text-table';

/** Shows how the examples are doing. */
export interface Progress {
  /** Says one thing. */
  note(text: string): void;
  show(runs: readonly Run[]): void;
  /** Leaves what is on the screen and shows no more. */
  close(): void;
}

/** A table that is drawn anew on a terminal, one line per change elsewhere. */
export function progressOn(stream: NodeJS.WriteStream): Progress {
  const since = Date.now();
  return stream.isTTY ? new LiveTable(stream, since) : new ChangeLines(stream, since);
}

const seconds = (since: number): string => `${((Date.now() - since) / 1000).toFixed(1)} s`;

class ChangeLines implements Progress {
  readonly #shown = new Map<Run, string>();

  constructor(
    private readonly stream: NodeJS.WritableStream,
    private readonly since: number,
  ) {}

  note(text: string): void {
    this.#line(text);
  }

  show(runs: readonly Run[]): void {
    for (const run of runs) {
      if (!run.workload) continue;
      const { state, reason, delivery } = run.workload;
      const now = `${state}${delivery > 1 ? ` (delivery ${delivery})` : ''}`;
      const before = this.#shown.get(run);
      if (before === now) continue;
      this.#shown.set(run, now);
      this.#line(`${run.example.name}: ${before === undefined ? '' : `${before} → `}${now}, ${reason}`);
    }
  }

  close(): void {
    // Every line is already out.
  }

  #line(text: string): void {
    this.stream.write(`${seconds(this.since).padStart(7)}  ${text}\n`);
  }
}

const REDRAW_MS = 250;

class LiveTable implements Progress {
  #drawn = 0;
  #runs: readonly Run[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly stream: NodeJS.WriteStream,
    private readonly since: number,
  ) {}

  note(text: string): void {
    this.#erase();
    this.stream.write(`${seconds(this.since).padStart(7)}  ${text}\n`);
    this.#draw();
  }

  show(runs: readonly Run[]): void {
    this.#runs = runs;
    this.#timer ??= setInterval(() => this.#redraw(), REDRAW_MS);
    this.#redraw();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#erase();
    this.#runs = [];
  }

  #redraw(): void {
    this.#erase();
    this.#draw();
  }

  #erase(): void {
    if (this.#drawn > 0) this.stream.write(`\x1b[${this.#drawn}A\x1b[0J`);
    this.#drawn = 0;
  }

  #draw(): void {
    if (this.#runs.length === 0) return;
    const colours = wantsColours(this.stream);
    const posted = this.#runs.filter(({ workload }) => workload);
    const ended = posted.filter(({ workload }) => workload!.closed).length;
    const table = [HEAD, ...this.#fitting(posted).map(rowOf)];
    const head = `${seconds(this.since)}: ${posted.length} of ${this.#runs.length} events posted, ${ended} ended`;
    const lines = ['', colours ? styled('bold', head) : head, ...formatTable(table, this.stream.columns - 1, colours)];
    this.stream.write(`${lines.join('\n')}\n`);
    this.#drawn = lines.length;
  }

  /** On a low screen those that ended first are left out: a table higher than the screen cannot be drawn over. */
  #fitting(posted: readonly Run[]): readonly Run[] {
    const room = Math.max(1, this.stream.rows - 5);
    let surplus = posted.length - room;
    const open = posted.filter((run) => !run.workload!.closed || surplus-- <= 0);
    return open.slice(0, room);
  }
}

const HEAD: Cell[] = ['EVENT', 'STATE', 'RULE', 'DELIVERY', 'AGE'].map((text) => ({ text, style: 'dim' }));

function rowOf({ example, workload }: Run): Cell[] {
  const { state, closed, rule_id, delivery, accepted_at, ended_at } = workload!;
  const until = closed && ended_at !== null ? Date.parse(ended_at) : Date.now();
  const age = `${Math.max(0, (until - Date.parse(accepted_at)) / 1000).toFixed(1)} s`;
  return [example.name, stateCell(state), rule_id ?? '', delivery > 0 ? String(delivery) : '', age];
}
