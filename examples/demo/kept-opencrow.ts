import { join } from 'node:path';
import type { AgentScript } from '../simulated-opencrow/agent-script';
import { Child } from './child-process';

const SCRIPT = join(__dirname, '..', 'simulated-opencrow', 'main.js');
/** As a service manager does: not at once, so that a program which cannot start does not spin. */
const RESTART_AFTER_MS = 300;
const MAX_RESTARTS = 20;

export interface KeptOpenCrowOptions {
  sessionDir: string;
  lifecycleSocket: string;
  script: AgentScript;
  logFile: string;
  /** Told when it was started again. */
  onRestart: (how: string) => void;
}

/** The simulated OpenCrow, started again whenever it dies, as systemd does with the real one. */
export class KeptOpenCrow {
  #child: Child | null = null;
  #stopped = false;
  #watching: Promise<void> = Promise.resolve();
  #fail: (error: Error) => void = () => undefined;
  /** Rejects when it cannot be kept running. */
  readonly failed = new Promise<never>((_resolve, reject) => (this.#fail = reject));

  constructor(private readonly options: KeptOpenCrowOptions) {
    this.failed.catch(() => undefined);
  }

  /** Resolves when its pipe has a reader. */
  async start(): Promise<void> {
    await this.#launch();
    this.#watching = this.#watch();
  }

  /** SIGKILL in mid-run, the only thing that helps against a silent agent. */
  kill(): void {
    this.#child?.tell('crash');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#child?.stop(5_000);
    await this.#watching;
  }

  async #launch(): Promise<void> {
    const { sessionDir, lifecycleSocket, script, logFile } = this.options;
    const args = [SCRIPT, '--exit-with-stdin', '--session-dir', sessionDir, '--lifecycle-socket', lifecycleSocket];
    let ready: () => void = () => undefined;
    const isReady = new Promise<void>((resolve) => (ready = resolve));
    const child = Child.start({ args: [...args, '--script', JSON.stringify(script)], logFile, onLine: () => ready() });
    this.#child = child;
    const end = await Promise.race([isReady, child.ended]);
    if (typeof end === 'string' && !this.#stopped) {
      throw new Error(`the simulated OpenCrow did not start (${end}); its log is ${logFile}`);
    }
  }

  async #watch(): Promise<void> {
    for (let restarts = 0; ; restarts += 1) {
      const how = await this.#child!.ended;
      if (this.#stopped) return;
      if (restarts === MAX_RESTARTS) return this.#fail(new Error('the simulated OpenCrow dies all the time'));
      await new Promise((resolve) => setTimeout(resolve, RESTART_AFTER_MS));
      if (this.#stopped) return;
      try {
        await this.#launch();
      } catch (error) {
        return this.#fail(error as Error);
      }
      this.options.onRestart(how);
    }
  }
}
