import type { Logger } from 'pino';
import type { ExecutionHandle } from '../../contracts/execution';
import { Problem } from '../../contracts/problems';
import { Backoff, pause } from '../../domain/backoff';
import type { Lease } from '../control-plane-answers';
import { ControlPlaneUnavailable, type ControlPlaneClient } from '../control-plane-client';

/** Refusals after which nothing that is done under the lease counts. Others, like a paused worker, may pass. */
const OVER = new Set<string>(['lease.stale', 'not_found', 'workload.not_needed', 'worker.revoked', 'worker.retired']);
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5_000;

/**
 * Keeps the lease of a command alive from a timer, every third of its life, and tells with it what becomes known of the command.
 * An api that does not answer is asked again and again; only its own word ends the lease. To a worker that it does not let in any
 * more it says nothing of the lease: that one is over when its life is.
 */
export class LeaseKeeper {
  readonly #over = new AbortController();
  readonly #done = new AbortController();
  readonly #stop = new AbortController();
  readonly #backoff = new Backoff(FIRST_RETRY_MS, LONGEST_RETRY_MS);
  #nudge = new AbortController();
  #nudged = false;
  #running = false;
  #target: { handle: ExecutionHandle; taken: (ok: boolean) => void } | null = null;
  #finished: Promise<void> = Promise.resolve();
  #renewing: Promise<number> | null = null;
  #held: Promise<void> | null = null;
  #livesUntil = 0;

  constructor(
    private readonly control: ControlPlaneClient,
    private readonly lease: Lease,
    private readonly logger: Logger,
  ) {}

  /** Aborted when the control plane says that the lease is over; its refusal is the reason. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /** Aborted when the runner has called and said that its job is done. */
  get runnerDone(): AbortSignal {
    return this.#done.signal;
  }

  /** `ttlMs`: what is left of the lease's life. */
  start(ttlMs: number): void {
    this.#livesUntil = performance.now() + ttlMs;
    this.#finished = this.#keep(ttlMs / 3).catch((error: unknown) => {
      this.logger.error({ err: error }, 'renewing a lease failed by a defect');
      this.#over.abort('defect');
      this.#target?.taken(false);
    });
  }

  /** The command has been started: told at once, and with each renewal. */
  noteRunning(): void {
    this.#running = true;
    this.askNow();
  }

  /** Tells who the target is, and waits until that is kept. Rejects when the lease is over before. */
  async tellTarget(handle: ExecutionHandle): Promise<void> {
    const taken = new Promise<boolean>((resolve) => (this.#target = { handle, taken: resolve }));
    this.askNow();
    if (!(await taken)) throw new Error('the lease is over');
  }

  /** Renews without waiting for the next time. */
  askNow(): void {
    this.#nudged = true;
    this.#nudge.abort();
  }

  /** Tells the end of the command while nothing is renewed, so that no renewal comes after it. Renews no more once it was told. */
  async conclude<T>(tell: () => Promise<T>): Promise<T> {
    let release: () => void = () => undefined;
    this.#held = new Promise((resolve) => (release = resolve));
    try {
      await this.#renewing;
      const answer = await tell();
      this.#stop.abort();
      return answer;
    } catch (error) {
      if (error instanceof Problem && OVER.has(error.code)) this.#stop.abort();
      throw error;
    } finally {
      this.#held = null;
      release();
    }
  }

  /** Resolves when nothing is under way any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#finished;
  }

  async #keep(firstMs: number): Promise<void> {
    let waitMs = firstMs;
    while (!this.#stop.signal.aborted && !this.over.aborted) {
      if (!this.#nudged) await pause(waitMs, this.#stop.signal, this.#nudge.signal);
      if (this.#held) await this.#held;
      if (this.#stop.signal.aborted) break;
      this.#nudge = new AbortController();
      this.#nudged = false;
      this.#renewing = this.#renew(waitMs);
      waitMs = await this.#renewing;
      this.#renewing = null;
    }
    this.#target?.taken(false);
  }

  /** Renews once. Returns how long to wait for the next time, milliseconds. */
  async #renew(usualMs: number): Promise<number> {
    const target = this.#target;
    try {
      const { ttl_ms: ttlMs, runner_done: done } = await this.control.renew(this.lease, {
        ...(this.#running ? { running: true } : {}),
        ...(target ? { target: target.handle } : {}),
      });
      this.#backoff.reset();
      this.#livesUntil = performance.now() + ttlMs;
      target?.taken(true);
      if (this.#target === target) this.#target = null;
      if (done) this.#done.abort();
      return ttlMs / 3;
    } catch (error) {
      if (error instanceof Problem && (OVER.has(error.code) || this.#isShutOut(error))) {
        this.logger.warn({ code: error.code }, 'the lease of a command is over');
        this.#over.abort(error);
        return usualMs;
      }
      if (!(error instanceof Problem) && !(error instanceof ControlPlaneUnavailable)) throw error;
      const reason = error instanceof Problem ? error.code : error.why;
      this.logger.warn({ reason }, 'the lease of a command is not renewed yet; the command goes on');
      return Math.max(this.#backoff.next(), error.retryAfterMs ?? 0);
    }
  }

  #isShutOut({ code }: Problem): boolean {
    return code.startsWith('auth.') && performance.now() > this.#livesUntil;
  }
}
