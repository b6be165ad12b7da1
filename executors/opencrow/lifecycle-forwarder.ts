import type { Logger } from 'pino';
import type { LifecycleEffect, LifecycleRecord } from '../../contracts/lifecycle';
import { Problem } from '../../contracts/problems';
import { Backoff, pause } from '../../domain/backoff';
import { ControlPlaneUnavailable, type ControlPlaneClient } from '../control-plane-client';
import { debugPoint } from '../../domain/debug-point';
import type { SpoolEntry, SpoolReader } from '../spool/spool-reader';
import { orderKeyOf, parseLifecycleDatagram } from './lifecycle-datagram';
import type { Quarantine } from './quarantine';

const MAX_BATCH_RECORDS = 100;
/** Below the api's limit of 256 KiB for a body. */
const MAX_BATCH_BYTES = 200 * 1024;
const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 15_000;
/** A workload whose record the control plane cannot digest is tried again this often. */
const STUCK_RETRY_MS = 30_000;

/** Refusals of a record's content: asking again gives the same answer. All other refusals are about the worker. */
const PERMANENT_STATUS = new Set([400, 409, 413, 415, 422]);

/** What happens to records, for metrics. */
export interface ForwarderHooks {
  onForwarded?(effect: LifecycleEffect, record: LifecycleRecord): void;
  onQuarantined?(code: string): void;
  /** Records received and not yet taken by the control plane, at most the reader's window. */
  onBacklog?(count: number): void;
}

export interface LifecycleForwarderOptions {
  reader: SpoolReader;
  quarantine: Quarantine;
  control: ControlPlaneClient;
  logger: Logger;
  hooks?: ForwarderHooks;
}

interface Item {
  entry: SpoolEntry;
  record: LifecycleRecord;
  key: string;
  bytes: number;
}

/**
 * Sends spooled lifecycle datagrams to the control plane: in order for each workload, at least once, for ever. A record
 * that is refused for good is set aside; one that the control plane fails on holds up its own workload only.
 */
export class LifecycleForwarder {
  readonly #parsed = new WeakMap<SpoolEntry, Item>();
  readonly #stuckUntil = new Map<string, number>();
  readonly #backoff = new Backoff(FIRST_RETRY_MS, LONGEST_RETRY_MS);
  readonly #stop = new AbortController();
  #nudge = new AbortController();
  #running: Promise<void> | null = null;
  /** Nothing is left to send, or only what waits for its own time. */
  #idle = false;

  constructor(private readonly options: LifecycleForwarderOptions) {}

  start(): void {
    this.#running = this.#run();
  }

  /** There may be something new to send. */
  wake(): void {
    this.#nudge.abort();
  }

  /** Sends what is there for at most `graceMs`, then stops. What is unsent stays in the spool. */
  async stop(graceMs: number): Promise<void> {
    const until = Date.now() + graceMs;
    while (Date.now() < until && this.options.reader.hasMore()) await pause(20);
    this.#stop.abort();
    this.wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      this.#nudge = new AbortController();
      let waitMs: number;
      try {
        waitMs = await this.#step();
      } catch (error) {
        this.options.logger.error({ err: error }, 'forwarding lifecycle records failed; trying again');
        waitMs = this.#backoff.next();
      }
      // New records are no reason to ask a control plane sooner that does not answer.
      if (waitMs > 0) await pause(waitMs, this.#stop.signal, ...(this.#idle ? [this.#nudge.signal] : []));
    }
  }

  /** Sends one batch. Returns how long there is nothing to do, in milliseconds. */
  async #step(): Promise<number> {
    const entries = await this.options.reader.entries();
    this.options.hooks?.onBacklog?.(entries.length);
    const batch = this.#nextBatch(entries);
    if (batch.length === 0) {
      this.#idle = true;
      return STUCK_RETRY_MS / 10;
    }
    this.#idle = false;
    return this.#send(batch);
  }

  #nextBatch(entries: readonly SpoolEntry[]): Item[] {
    const now = Date.now();
    const batch: Item[] = [];
    let bytes = 0;
    for (const entry of entries) {
      const item = this.#itemOf(entry);
      if ((this.#stuckUntil.get(item.key) ?? 0) > now) continue;
      bytes += item.bytes;
      if (batch.length > 0 && (bytes > MAX_BATCH_BYTES || batch.length >= MAX_BATCH_RECORDS)) break;
      batch.push(item);
    }
    return batch;
  }

  #itemOf(entry: SpoolEntry): Item {
    let item = this.#parsed.get(entry);
    if (!item) {
      const record = parseLifecycleDatagram(entry.payload);
      item = { entry, record, key: orderKeyOf(record), bytes: Buffer.byteLength(JSON.stringify(record)) };
      this.#parsed.set(entry, item);
    }
    return item;
  }

  /** Sends a batch; when its content is the trouble, its records one by one. Returns how long to wait. */
  async #send(batch: Item[]): Promise<number> {
    try {
      debugPoint('before-forward');
      const { results } = await this.options.control.lifecycle(batch.map((item) => item.record));
      debugPoint('after-forward');
      this.#backoff.reset();
      for (const [index, { effect }] of results.entries())
        this.options.hooks?.onForwarded?.(effect, batch[index]!.record);
      for (const { key } of batch) this.#stuckUntil.delete(key);
      await this.options.reader.acknowledge(batch.map((item) => item.entry));
      return 0;
    } catch (error) {
      const trouble = troubleOf(error);
      if (trouble.about === 'link') return this.#waitForLink(trouble);
      if (batch.length > 1) return this.#sendSingly(batch);
      await this.#handleSingle(batch[0] as Item, trouble);
      return 0;
    }
  }

  async #sendSingly(batch: Item[]): Promise<number> {
    for (const item of batch) {
      if (this.#stop.signal.aborted) return 0;
      if ((this.#stuckUntil.get(item.key) ?? 0) > Date.now()) continue;
      const waitMs = await this.#send([item]);
      if (waitMs > 0) return waitMs;
    }
    return 0;
  }

  async #handleSingle(item: Item, trouble: Trouble): Promise<void> {
    const { logger, quarantine, reader, hooks } = this.options;
    if (trouble.about === 'handling') {
      this.#stuckUntil.set(item.key, Date.now() + STUCK_RETRY_MS);
      logger.error({ key: item.key, reason: trouble.code }, 'the control plane fails on a lifecycle record');
      return;
    }
    const kept = await quarantine.add(item.record, { code: trouble.code, detail: trouble.detail });
    logger.error({ key: item.key, code: trouble.code, kept }, 'a lifecycle record was refused and set aside');
    hooks?.onQuarantined?.(trouble.code);
    await reader.acknowledge([item.entry]);
  }

  #waitForLink(trouble: Trouble): number {
    const waitMs = Math.max(this.#backoff.next(), trouble.retryAfterMs ?? 0);
    this.options.logger.warn({ reason: trouble.code, wait_ms: waitMs }, 'lifecycle records wait for the control plane');
    return waitMs;
  }
}

interface Trouble {
  /** `link`: nothing gets through now. `content`: this is refused for good. `handling`: the control plane fails on it. */
  about: 'link' | 'content' | 'handling';
  code: string;
  detail: string;
  retryAfterMs?: number | undefined;
}

function troubleOf(error: unknown): Trouble {
  if (error instanceof Problem) {
    const about = PERMANENT_STATUS.has(error.status) ? 'content' : 'link';
    return { about, code: error.code, detail: error.message, retryAfterMs: error.retryAfterMs };
  }
  if (!(error instanceof ControlPlaneUnavailable)) throw error;
  const about = error.status === 500 ? 'handling' : 'link';
  return { about, code: error.why, detail: error.why, retryAfterMs: error.retryAfterMs };
}
