import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import path from 'node:path';
import { eventually } from './eventually';

const ROOT = path.resolve(__dirname, '../..');
const started = new Set<TestProcess>();

/** How a process ended. */
export interface ProcessEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** A real child process of a test. It is killed after the test file, whatever happens. */
export class TestProcess {
  /** Everything it wrote to stdout so far. */
  stdout = '';
  /** Everything it wrote to stderr so far. */
  stderr = '';
  /** Resolves when it has ended. */
  readonly ended: Promise<ProcessEnd>;
  private end: ProcessEnd | undefined;

  constructor(private readonly child: ChildProcess) {
    child.stdout!.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    this.ended = new Promise((resolve) => {
      const finish = (end: ProcessEnd): void => {
        this.end ??= end;
        started.delete(this);
        resolve(this.end);
      };
      child.once('error', (error) => {
        this.stderr += String(error);
        finish({ code: null, signal: null });
      });
      child.once('exit', (code, signal) => finish({ code, signal }));
    });
    started.add(this);
  }

  get pid(): number {
    return this.child.pid!;
  }

  get isRunning(): boolean {
    return this.end === undefined;
  }

  /** Waits for a line on stdout or stderr that matches; fails, with the output, when the process ends first. */
  async output(pattern: RegExp, timeout = 30_000): Promise<RegExpExecArray> {
    return eventually(
      () => {
        const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
        if (!match)
          throw new Error(`no ${String(pattern)} in the output of pid ${this.pid}:\n${this.stdout}${this.stderr}`);
        return match;
      },
      { timeout },
    );
  }

  /** Sends a signal; harmless when it has ended. */
  signal(name: NodeJS.Signals): void {
    if (this.isRunning) this.child.kill(name);
  }

  /** SIGKILL, and waits for the end. */
  async kill9(): Promise<ProcessEnd> {
    this.signal('SIGKILL');
    return this.ended;
  }

  /** SIGTERM, and waits for the end. */
  async terminate(): Promise<ProcessEnd> {
    this.signal('SIGTERM');
    return this.ended;
  }
}

/** Starts a program. `env` is added to our own environment. */
export function startProcess(
  command: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; cwd?: string } = {},
): TestProcess {
  const child = spawn(command, [...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  return new TestProcess(child);
}

/** Starts `workloadd` as it was built into dist/. */
export const startWorkloadd = (args: readonly string[], env: NodeJS.ProcessEnv = {}): TestProcess =>
  startProcess(process.execPath, [path.join(ROOT, 'bin', 'workloadd.js'), ...args], { env });

/** Runs JavaScript in a process of its own. `$dist` in it stands for the path of dist/. */
export const startScript = (script: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): TestProcess =>
  startProcess(process.execPath, ['-e', script.replaceAll('$dist', path.join(ROOT, 'dist')), '--', ...args], { env });

/** Kills whatever this test file started and has not ended. */
async function killStartedProcesses(): Promise<void> {
  await Promise.all([...started].map((each) => each.kill9()));
}

afterAll(killStartedProcesses);
// The worker may be told to go before its tests are done.
process.once('exit', () => {
  for (const each of started) each.signal('SIGKILL');
});
