import type { Logger } from 'pino';
import { openTriggerPipe, type PipeOpening } from './trigger-pipe';

/** Refusals to open that mean "no OpenCrow reads here": when it opens again, OpenCrow was restarted meanwhile. */
const READER_GONE = new Set(['ENXIO', 'ENOENT']);

/**
 * Knows whether somebody reads the trigger pipe, and whether OpenCrow was gone and came back. It looks once a second
 * (one open and close, which OpenCrow does not notice) and at each delivery.
 */
export class PipeWatch {
  #reason: string | null = 'not_checked';
  /** How often OpenCrow was seen gone; how often when that was last asked for; how often of which the control plane knows. */
  #gone = 0;
  #asked = 0;
  #reported = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly path: string,
    private readonly logger: Logger,
    private readonly intervalMs = 1000,
  ) {}

  start(): void {
    this.#look();
    this.#timer = setInterval(() => this.#look(), this.intervalMs);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Opens the pipe and notes what that says about OpenCrow. */
  open(): PipeOpening {
    const opening = openTriggerPipe(this.path);
    this.#note(opening.ok ? null : opening.reason);
    return opening;
  }

  /** A write found no reader though the open did: OpenCrow went away in between. */
  noteReaderGone(): void {
    this.#gone += 1;
  }

  /** Why nothing can be delivered now; null when the pipe has a reader. */
  get reason(): string | null {
    return this.#reason;
  }

  /** OpenCrow was seen gone, and {@link restartReported} did not follow. */
  get restartSeen(): boolean {
    this.#asked = this.#gone;
    return this.#gone > this.#reported;
  }

  /** The control plane knows of the restart as {@link restartSeen} told it last: one since then is still to be reported. */
  restartReported(): void {
    this.#reported = this.#asked;
  }

  #look(): void {
    const opening = this.open();
    if (opening.ok) opening.pipe.close();
  }

  #note(reason: string | null): void {
    if (reason !== null && READER_GONE.has(reason)) this.#gone += 1;
    if (reason === this.#reason) return;
    this.#reason = reason;
    if (reason === null) this.logger.info('the trigger pipe has a reader');
    else this.logger.warn({ reason }, 'the trigger pipe cannot be written');
  }
}
