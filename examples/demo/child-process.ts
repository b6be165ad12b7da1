import { spawn, type ChildProcess } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { createInterface } from 'node:readline';

export interface ChildOptions {
  /** Arguments of Node, the script first. */
  args: readonly string[];
  env?: NodeJS.ProcessEnv;
  /** Told each line of stdout. */
  onLine: (line: string) => void;
  /** Told each line of stderr that is no JSON: words for people among the log. */
  onWords?: (line: string) => void;
  /** Receives all of stderr. */
  logFile: string;
}

/** A Node process of the demo, in a session of its own: the demo decides when it ends, not a Ctrl-C in the terminal. */
export class Child {
  /** Resolves with how it ended, in words. */
  readonly ended: Promise<string>;
  #running = true;

  private constructor(private readonly child: ChildProcess) {
    this.ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.#running = false;
        resolve(how);
      };
      child.once('error', (error) => end(error.message));
      child.once('exit', (code, signal) => end(signal === null ? `exit code ${code}` : signal));
    });
  }

  static start(options: ChildOptions): Child {
    const child = spawn(process.execPath, [...options.args], {
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      ...(options.env && { env: options.env }),
    });
    // A child that is gone already cannot be told anything.
    child.stdin.on('error', () => undefined);
    createInterface({ input: child.stdout }).on('line', options.onLine);
    createInterface({ input: child.stderr }).on('line', (line) => {
      if (!line.startsWith('{')) options.onWords?.(line);
    });
    child.stderr.pipe(createWriteStream(options.logFile, { flags: 'a', mode: 0o600 }));
    return new Child(child);
  }

  get running(): boolean {
    return this.#running;
  }

  /** Writes a line to its standard input. */
  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`);
  }

  /** SIGTERM, and SIGKILL after `graceMs`. True when it ended by itself; calling it again is harmless. */
  async stop(graceMs: number): Promise<boolean> {
    if (this.#running) this.child.kill('SIGTERM');
    let killed = false;
    const timer = setTimeout(() => {
      killed = true;
      this.child.kill('SIGKILL');
    }, graceMs);
    await this.ended;
    clearTimeout(timer);
    return !killed;
  }
}
