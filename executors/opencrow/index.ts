import { join } from 'node:path';
import type { Logger } from 'pino';
import type { LifecycleEffect, LifecycleRecord } from '../../contracts/lifecycle';
import type { ControlPlaneClient } from '../control-plane-client';
import type { Executor, ExecutorStatus } from '../executor';
import { SpoolReader } from '../spool/spool-reader';
import type { SpoolAlarm } from '../spool/spool-writer';
import { deliver } from './deliver';
import { LeaseFolder, type HeldLease } from './lease-folder';
import { recoverLease, recoverLeases } from './lease-recovery';
import { LifecycleForwarder, type ForwarderHooks } from './lifecycle-forwarder';
import { LifecycleSocket, groupIdOf } from './lifecycle-socket';
import { PipeWatch } from './pipe-watch';
import { Quarantine } from './quarantine';

/** What happens in the executor, for metrics. All are optional and must not throw. */
export interface OpenCrowHooks extends ForwarderHooks {
  /** Datagrams received since the last call. */
  onReceived?(count: number): void;
  /** The spool is nearly full, full, or its disk refuses. */
  onSpoolAlarm?(alarm: SpoolAlarm): void;
}

export interface OpenCrowExecutorOptions {
  /** OpenCrow's trigger pipe: `<OPENCROW_PI_SESSION_DIR>/trigger.pipe`, the real path and no symbolic link. */
  triggerPipe: string;
  /** The datagram socket to bind: OpenCrow's `OPENCROW_WORKLOAD_LIFECYCLE_SOCKET`. At most 107 bytes. */
  lifecycleSocket: string;
  /** Permission bits of the socket. Default 0o660. OpenCrow's user needs write permission. */
  socketMode?: number;
  /** Group of the socket, name or id. Default: the process's own. */
  socketGroup?: string | number;
  /** Folder of this worker alone: the spool, the quarantine and the leases it holds (tokens, so 0700). */
  spoolDir: string;
  /** Most bytes of unsent lifecycle. Default 64 MiB; beyond it new datagrams are refused, with an alarm. */
  spoolMaxBytes?: number;
  logger: Logger;
  hooks?: OpenCrowHooks;
}

/** The executor for one OpenCrow on this host. Binds and reads from {@link Executor.start} on. */
export function createOpenCrowExecutor(options: OpenCrowExecutorOptions): Executor {
  return new OpenCrowExecutor(options);
}

class OpenCrowExecutor implements Executor {
  readonly kind = 'opencrow';
  readonly #pipe: PipeWatch;
  readonly #leases: LeaseFolder;
  readonly #socket: LifecycleSocket;
  readonly #stopping = new AbortController();
  #slotFreed = new AbortController();
  readonly #background = new Set<Promise<void>>();
  #reader: SpoolReader | null = null;
  #forwarder: LifecycleForwarder | null = null;

  constructor(private readonly options: OpenCrowExecutorOptions) {
    const { logger, hooks, spoolDir } = options;
    this.#pipe = new PipeWatch(options.triggerPipe, logger);
    this.#leases = new LeaseFolder(join(spoolDir, 'leases'));
    this.#socket = new LifecycleSocket({
      input: {
        socketPath: options.lifecycleSocket,
        mode: options.socketMode ?? 0o660,
        groupId: options.socketGroup === undefined ? null : groupIdOf(options.socketGroup),
        spoolFolder: join(spoolDir, 'lifecycle'),
        spoolMaxBytes: options.spoolMaxBytes ?? null,
      },
      logger,
      onReceived: (count) => hooks?.onReceived?.(count),
      onDurable: (position) => {
        this.#reader?.noteDurable(position);
        this.#forwarder?.wake();
      },
      onAlarm: (alarm) => {
        logger.error({ alarm }, alarm.kind === 'near_cap' ? 'the lifecycle spool fills up' : 'lifecycle was dropped');
        hooks?.onSpoolAlarm?.(alarm);
      },
    });
  }

  /** Binds the socket first: OpenCrow may be talking already. */
  async start(control: ControlPlaneClient): Promise<void> {
    const { logger, spoolDir, hooks } = this.options;
    const folder = join(spoolDir, 'lifecycle');
    this.#reader = new SpoolReader({
      folder,
      onTornTail: (tail) => logger.warn(tail, 'bytes at the end of a spool segment were no record'),
    });
    const quarantine = new Quarantine(join(spoolDir, 'quarantine'));
    this.#forwarder = new LifecycleForwarder({
      reader: this.#reader,
      quarantine,
      control,
      logger,
      hooks: { ...hooks, onForwarded: (effect, record) => this.#noteForwarded(effect, record) },
    });
    await this.#socket.start();
    await this.#leases.prepare();
    this.#pipe.start();
    this.#forwarder.start();
    this.#inBackground(recoverLeases(this.#leases, control, logger, this.#stopping.signal));
  }

  deliver: Executor['deliver'] = (task, context) => {
    const reportLater = (held: HeldLease): void => {
      this.#inBackground(recoverLease(held, this.#leases, context.control, this.options.logger, this.#stopping.signal));
    };
    const slotFreed = (): AbortSignal => this.#slotFreed.signal;
    return deliver(task, context, { pipe: this.#pipe, leases: this.#leases, reportLater, slotFreed });
  };

  status(): ExecutorStatus {
    const reason = this.#socket.listening ? this.#pipe.reason : 'lifecycle_socket';
    return { ready: reason === null, reason, restarted: reason === null && this.#pipe.restartSeen };
  }

  restartReported(): void {
    this.#pipe.restartReported();
  }

  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort();
    this.#pipe.stop();
    await this.#socket.stop();
    await this.#forwarder?.stop(graceMs);
    await Promise.all(this.#background);
  }

  /** An end that the control plane has taken may have freed a slot that a delivery waits for. */
  #noteForwarded(effect: LifecycleEffect, record: LifecycleRecord): void {
    this.options.hooks?.onForwarded?.(effect, record);
    if ('unreadable' in record || record.status === 'running' || record.status === 'preempted') return;
    this.#slotFreed.abort();
    this.#slotFreed = new AbortController();
  }

  #inBackground(work: Promise<void>): void {
    const guarded = work
      .catch((error: unknown) => this.options.logger.error({ err: error }, 'reporting leases failed'))
      .finally(() => this.#background.delete(guarded));
    this.#background.add(guarded);
  }
}
