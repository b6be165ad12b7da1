import { randomUUID } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { OUTPUT_STREAMS, type OutputStream } from '../../contracts/artifacts';
import { Problem } from '../../contracts/problems';
import { ControlPlaneUnavailable } from '../control-plane-client';
import type { CommandOutput, CommandOutputOf, OpenCommandOutput, PrintedOutput } from './command-output';
import { SpooledStream } from './spooled-stream';

/** Bytes of one append, at most: much output goes in many, so that no request takes long. */
const PIECE_BYTES = 256 * 1024;
/** While there is less than a piece, it is sent this often. */
const SEND_EVERY_MS = 250;
const LONGEST_PAUSE_MS = 5_000;
/** An end must not be lost because output cannot be sent. */
const FINISH_MS = 30_000;

export interface SpooledOutputOptions {
  /** Folder of this worker alone, for what commands print until it is sent. What is in it is removed. */
  folder: string;
  /** How long the end of a command may wait until its output is sent, milliseconds. Default 30,000. */
  finishMs?: number;
}

/**
 * Sends what commands print to the artifact store while they run. It goes through files, so that memory does not grow with it, and on from the size
 * that the store answers. What cannot be kept there is no failure of the command: it is counted all the same.
 */
export function spooledOutput({ folder, finishMs = FINISH_MS }: SpooledOutputOptions): OpenCommandOutput {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  // Of a process that is dead: nobody can send it any more.
  for (const left of readdirSync(folder)) rmSync(path.join(folder, left), { recursive: true, force: true });
  return (run) => new RunOutput(run, path.join(folder, randomUUID()), finishMs);
}

class RunOutput implements CommandOutput {
  readonly #streams: readonly SpooledStream[];
  #closed = false;
  #stopped = false;
  #failures = 0;
  #wake: () => void = () => undefined;
  readonly #sending: Promise<void>;

  constructor(
    private readonly run: CommandOutputOf,
    file: string,
    private readonly finishMs: number,
  ) {
    this.#streams = OUTPUT_STREAMS.map((name) => new SpooledStream(name, `${file}.${name}`));
    this.#sending = this.#send().catch((error: unknown) => this.#giveUp(nameOf(error)));
  }

  write(stream: OutputStream, chunk: Uint8Array): void {
    if (this.#closed) return;
    const spooled = this.#streams[OUTPUT_STREAMS.indexOf(stream)]!;
    const { failure } = spooled;
    spooled.write(chunk);
    if (spooled.failure === failure) return;
    this.run.logger.warn({ stream, why: spooled.failure, ...this.#ids }, 'output is not kept as a whole');
  }

  async finish(giveUp: AbortSignal): Promise<PrintedOutput> {
    this.#closed = true;
    this.#wake();
    let timer: NodeJS.Timeout | undefined;
    let abort: () => void = () => undefined;
    const over = new Promise<'over'>((resolve) => {
      abort = () => resolve('over');
      timer = setTimeout(abort, this.finishMs);
      giveUp.addEventListener('abort', abort);
      if (giveUp.aborted) abort();
    });
    if ((await Promise.race([this.#sending, over])) === 'over') this.#giveUp('timeout');
    clearTimeout(timer);
    giveUp.removeEventListener('abort', abort);
    const printed = this.#streams.map((stream) => [stream.name, stream.end()] as const);
    return Object.fromEntries(printed.filter(([, counted]) => counted !== null));
  }

  async #send(): Promise<void> {
    for (;;) {
      const pending = this.#streams.filter((stream) => stream.pending > 0);
      if (this.#stopped || (this.#closed && pending.length === 0)) return;
      for (const stream of pending) {
        const pauseMs = await this.#sendPiece(stream);
        if (pauseMs > 0 && !this.#stopped) await this.#pause(pauseMs);
        if (this.#stopped) return;
      }
      const hurry = this.#closed || this.#streams.some((stream) => stream.pending >= PIECE_BYTES);
      if (!hurry) await this.#pause(SEND_EVERY_MS);
    }
  }

  /** Sends one piece. Returns how long to wait before the next try, 0 when it arrived. */
  async #sendPiece(stream: SpooledStream): Promise<number> {
    const offset = stream.sent;
    try {
      const at = { stream: stream.name, offset };
      const { size } = await this.run.control.appendOutput(this.run.lease, at, stream.next(PIECE_BYTES));
      stream.sent = size;
      this.#failures = 0;
      return 0;
    } catch (error) {
      this.#failures += 1;
      if (error instanceof Problem && error.code === 'artifacts.offset_ahead' && offset > 0) {
        // It has lost what it had; the answer to the first bytes says what is left.
        stream.sent = 0;
        if (this.#failures < 3) return 0;
      }
      const passes = error instanceof ControlPlaneUnavailable || (error instanceof Problem && error.status === 429);
      if (!passes) {
        this.#giveUp(error instanceof Problem ? error.code : nameOf(error));
        return 0;
      }
      const backoff = Math.min(SEND_EVERY_MS * 2 ** Math.min(this.#failures, 10), LONGEST_PAUSE_MS);
      return Math.max(error.retryAfterMs ?? 0, backoff);
    }
  }

  #giveUp(why: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#wake();
    this.run.logger.info({ why, ...this.#ids }, 'output is not sent any more');
  }

  get #ids(): object {
    return { workload_id: this.run.lease.workId, delivery_id: this.run.deliveryId };
  }

  async #pause(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }
}

const nameOf = (error: unknown): string => (error instanceof Error ? error.name : 'unknown');
