import { execFileSync } from 'node:child_process';
import { appendFileSync, constants, lstatSync, mkdirSync, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { runAgentCommand } from './agent-command';
import { AgentRun } from './agent-run';
import { stepFor, type AgentScript } from './agent-script';
import { Inbox, PRIORITY, type InboxRow } from './inbox';
import { LifecycleEmitter } from './lifecycle-emitter';
import { LineScanner } from './line-scanner';
import { goTrimSpace, parseTrigger } from './workload-grammar';

export interface SimulatedOpenCrowOptions {
  /** Holds the trigger pipe and the inbox. */
  sessionDir: string;
  /** Where lifecycle datagrams go; empty for none. */
  lifecycleSocket: string;
  /** `OPENCROW_INSTANCE_ID`. */
  instance: string;
  script: AgentScript;
  /** JSON lines of what was received, run and sent are appended here. */
  receivedLog?: string;
}

/** One line of the received log. */
export type LogLine =
  | { type: 'started'; pid: number }
  | { type: 'received'; workload_id: string | null; line: string; inbox_id: number; invalid?: string }
  | { type: 'prompt'; workload_id: string; inbox_id: number; attempt: number }
  | { type: 'command'; workload_id: string; exit_code: number | null; stdout: string; stderr: string }
  | { type: 'emitted'; workload_id: string; status: string; inbox_id: number; attempt: number; lost: string | null }
  | { type: 'scanner_died' };

/**
 * OpenCrow without an agent: its wire behaviour, bad habits included. It believes every line, runs one item at a time,
 * forgets an item when it starts it, repeats what it was told twice, and speaks to a socket that may not be there.
 */
export class SimulatedOpenCrow {
  readonly triggerPipe: string;
  readonly #inbox: Inbox;
  readonly #emitter: LifecycleEmitter;
  readonly #scanner = new LineScanner();
  #reader: Socket | null = null;
  #run: AgentRun | null = null;
  #row: InboxRow | null = null;
  #draining = false;
  #stopped = false;

  constructor(private readonly options: SimulatedOpenCrowOptions) {
    mkdirSync(options.sessionDir, { recursive: true });
    this.triggerPipe = join(options.sessionDir, 'trigger.pipe');
    this.#inbox = new Inbox(join(options.sessionDir, 'inbox.json'));
    this.#emitter = new LifecycleEmitter(options.lifecycleSocket, options.instance);
  }

  /** Makes the pipe, runs what an earlier life left in the inbox, and reads. */
  start(): void {
    const kind = lstatSync(this.triggerPipe, { throwIfNoEntry: false });
    if (kind && !kind.isFIFO()) rmSync(this.triggerPipe);
    if (!kind?.isFIFO()) execFileSync('mkfifo', ['-m', '0660', this.triggerPipe]);
    // O_RDWR as OpenCrow does: there is always a writer, so there is never an end.
    const fd = openSync(this.triggerPipe, constants.O_RDWR | constants.O_NONBLOCK);
    this.#reader = new Socket({ fd, readable: true, writable: false });
    this.#reader.on('data', (chunk) => this.#read(chunk));
    this.#log({ type: 'started', pid: process.pid });
    void this.#drain();
  }

  /** A chat message: goes first, and interrupts a workload that runs. */
  chat(text: string): void {
    this.#inbox.enqueue({ priority: PRIORITY.user, content: text, metadata: null, attempt: 0 });
    if (this.#row && this.#row.priority > PRIORITY.user) this.#run?.interrupt('preempted');
    void this.#drain();
  }

  /** `!stop`. */
  abort(): void {
    this.#run?.interrupt('aborted');
  }

  /** Stops or goes on reading the pipe, as a reader that hangs. */
  pauseReader(paused: boolean): void {
    if (paused) this.#reader?.pause();
    else this.#reader?.resume();
  }

  /** SIGTERM: a running workload is preempted and put back into the inbox. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#reader?.destroy();
    this.#run?.interrupt('shutdown');
    while (this.#draining) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  #read(chunk: Buffer): void {
    for (const line of this.#scanner.push(chunk).map(goTrimSpace)) if (line !== '') this.#receive(line);
    if (!this.#scanner.dead) return;
    this.#log({ type: 'scanner_died' });
    this.#reader?.destroy();
  }

  #receive(line: string): void {
    const parsed = parseTrigger(line);
    const metadata = parsed.kind === 'workload' ? parsed.metadata : null;
    const row = this.#inbox.enqueue({ priority: PRIORITY.trigger, content: line, metadata, attempt: 0 });
    const invalid = parsed.kind === 'plain' && parsed.invalid ? { invalid: parsed.invalid } : {};
    this.#log({ type: 'received', workload_id: metadata?.workload_id ?? null, line, inbox_id: row.id, ...invalid });
    void this.#drain();
  }

  async #drain(): Promise<void> {
    if (this.#draining) return;
    this.#draining = true;
    while (!this.#stopped) {
      const row = this.#inbox.dequeue();
      if (!row) break;
      this.#row = row;
      await this.#process(row);
      this.#row = null;
    }
    this.#draining = false;
  }

  async #process(row: InboxRow): Promise<void> {
    if (!row.metadata) return;
    const step = stepFor(this.options.script, row.metadata, row.content);
    const run = new AgentRun(step, row.attempt);
    this.#run = run;
    if (step.behaviour !== 'lose_running') await this.#emit(row, 'running', { priority: row.priority });
    for (let prompt = 0; prompt < step.prompts; prompt += 1) {
      this.#logPrompt(row);
      for (const command of step.commands) await this.#runCommand(row, command);
    }
    const end = await run.end(() => this.chat('hello'));
    this.#run = null;
    if (step.behaviour !== 'lose_terminal') await this.#emit(row, end.status, end.details);
    if (end.requeue) this.#requeue(row);
  }

  async #emit(row: InboxRow, status: string, details: Record<string, unknown>): Promise<void> {
    if (!row.metadata) return;
    const datagram = this.#emitter.encode(row, row.metadata, status, details);
    const twice = stepFor(this.options.script, row.metadata, row.content).behaviour === 'duplicate_events';
    for (let times = twice ? 2 : 1; times > 0; times -= 1) {
      const lost = await this.#emitter.send(datagram);
      const { workload_id } = row.metadata;
      this.#log({ type: 'emitted', workload_id, status, inbox_id: row.id, attempt: row.attempt + 1, lost });
    }
  }

  #requeue({ priority, content, metadata, attempt }: InboxRow): void {
    this.#inbox.enqueue({ priority, content, metadata, attempt: attempt + 1 });
  }

  async #runCommand(row: InboxRow, command: readonly string[]): Promise<void> {
    const end = await runAgentCommand(command, row.content);
    this.#log({ type: 'command', workload_id: row.metadata?.workload_id ?? '', ...end });
  }

  #logPrompt(row: InboxRow): void {
    const workload_id = row.metadata?.workload_id ?? '';
    this.#log({ type: 'prompt', workload_id, inbox_id: row.id, attempt: row.attempt + 1 });
  }

  #log(line: LogLine): void {
    if (!this.options.receivedLog) return;
    appendFileSync(this.options.receivedLog, `${JSON.stringify({ at: new Date().toISOString(), ...line })}\n`);
  }
}
