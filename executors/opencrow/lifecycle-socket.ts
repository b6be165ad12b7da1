import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { SpoolPosition } from '../spool/spool-format';
import type { SpoolAlarm } from '../spool/spool-writer';
import { STOP_THREAD, type LifecycleThreadInput, type LifecycleThreadMessage } from './lifecycle-thread-protocol';

/** Threads run compiled code: when this file is run from the sources (tests), that of the build. */
const BUILT = join(__dirname, __filename.endsWith('.ts') ? '../../dist/executors/opencrow' : '.');
const THREAD_FILE = join(BUILT, 'lifecycle-thread.js');
const RESTART_AFTER_MS = 1_000;

export interface LifecycleSocketOptions {
  input: LifecycleThreadInput;
  logger: Logger;
  onDurable(position: SpoolPosition): void;
  onReceived(count: number): void;
  onAlarm(alarm: SpoolAlarm): void;
}

/** The lifecycle thread as the main thread sees it: started once, started again when it dies. */
export class LifecycleSocket {
  #thread: Worker | null = null;
  #stopped = false;
  #listening = false;
  #restart: NodeJS.Timeout | undefined;

  constructor(private readonly options: LifecycleSocketOptions) {}

  /** Resolves when the socket is bound; rejects with what is wrong with the path or the spool's folder. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => this.#run(resolve, reject));
  }

  get listening(): boolean {
    return this.#listening;
  }

  /** Stops receiving and removes the socket file. Resolves when all that was received is on disk. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#restart);
    const thread = this.#thread;
    if (!thread) return;
    const ended = new Promise((resolve) => thread.once('exit', resolve));
    thread.postMessage(STOP_THREAD);
    await ended;
  }

  #run(onReady: () => void, onFailed: (error: Error) => void): void {
    const thread = new Worker(THREAD_FILE, { workerData: this.options.input });
    this.#thread = thread;
    let received = 0;
    thread.on('message', (message: LifecycleThreadMessage) => {
      if (message.type === 'ready') {
        this.#listening = true;
        onReady();
      } else if (message.type === 'failed') {
        onFailed(new Error(`lifecycle socket: ${message.message}`));
      } else if (message.type === 'durable') {
        this.options.onReceived(message.received - received);
        received = message.received;
        this.options.onDurable(message.position);
      } else this.#notice(message);
    });
    thread.on('error', (error) => onFailed(error));
    thread.on('exit', (code) => this.#ended(code));
  }

  #notice(message: Extract<LifecycleThreadMessage, { type: 'alarm' | 'rebound' }>): void {
    if (message.type === 'alarm') return this.options.onAlarm(message.alarm);
    const { bound, message: why } = message;
    if (bound) this.options.logger.warn({ why }, 'the lifecycle socket was bound again');
    else this.options.logger.error({ why }, 'the lifecycle socket is not in place and cannot be bound');
  }

  /** Lifecycle is lost while nobody listens, so it tries again for as long as the process lives. */
  #ended(code: number): void {
    const wasListening = this.#listening;
    this.#listening = false;
    this.#thread = null;
    if (this.#stopped || (!wasListening && this.#restart === undefined)) return;
    this.options.logger.error({ code }, 'the lifecycle thread ended; starting it again');
    const log = (error: Error): void =>
      this.options.logger.error({ why: error.message }, 'the lifecycle thread failed');
    this.#restart = setTimeout(() => this.#run(() => undefined, log), RESTART_AFTER_MS);
  }
}

/** The id of a group given by name or number. Names are looked up in `/etc/group` only. */
export function groupIdOf(group: string | number): number {
  if (typeof group === 'number') return group;
  if (/^\d+$/.test(group)) return Number(group);
  const line = readFileSync('/etc/group', 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${group}:`));
  const id = line?.split(':')[2];
  if (id === undefined) throw new Error(`no group named ${group} in /etc/group`);
  return Number(id);
}
