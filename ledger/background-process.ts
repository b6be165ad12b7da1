import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { closeSync, existsSync, fchmodSync, openSync, readFileSync, readdirSync, renameSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const LOG_LIMIT_BYTES = 10 * 1024 * 1024;
const POLL_MS = 25;

/** How to start a server that outlives a Ctrl-C in our terminal. */
export interface BackgroundProcessOptions {
  command: string;
  args: readonly string[];
  env: NodeJS.ProcessEnv;
  /** Receives both output streams; a file above 10 MiB is moved to `<logFile>.old` first. */
  logFile: string;
  /** The account to run as, when it is not our own. */
  account?: { uid: number; gid: number } | undefined;
}

/**
 * Starts a process in a session of its own, so that signals of our terminal do not reach it. It survives our death: whoever
 * starts it must be able to find it again. Fails when the command cannot be executed.
 */
export async function startInBackground(options: BackgroundProcessOptions): Promise<number> {
  if (existsSync(options.logFile) && statSync(options.logFile).size > LOG_LIMIT_BYTES) {
    renameSync(options.logFile, `${options.logFile}.old`);
  }
  const log = openSync(options.logFile, 'a', 0o600);
  // What a server writes is nobody else's to read; a child takes our mask at the moment it is made.
  const umask = process.umask(0o077);
  try {
    fchmodSync(log, 0o600);
    const child: ChildProcess = spawn(options.command, [...options.args], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: options.env,
      ...(options.account && { uid: options.account.uid, gid: options.account.gid }),
    });
    process.umask(umask);
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.on('error', () => undefined);
    child.unref();
    return child.pid!;
  } finally {
    process.umask(umask);
    closeSync(log);
  }
}

/** Whether a process runs. A zombie counts as gone: it has ended, only nobody has collected it yet. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return !existsSync('/proc/self/stat');
  }
}

/** The arguments of a running process, or null when it is gone or not ours to see. */
export function commandLineOf(pid: number): string[] | null {
  try {
    if (existsSync('/proc/self/cmdline')) return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    return execFileSync('ps', ['-ww', '-o', 'command=', '-p', String(pid)], { encoding: 'utf8' })
      .trim()
      .split(' ');
  } catch {
    return null;
  }
}

/** The ids of all running processes whose arguments satisfy `matches`. */
export function findProcesses(matches: (args: string[]) => boolean): number[] {
  const pids = existsSync('/proc/self/cmdline')
    ? readdirSync('/proc').filter((name) => /^[0-9]+$/.test(name))
    : execFileSync('ps', ['-axo', 'pid='], { encoding: 'utf8' }).split('\n');
  return pids
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid)
    .filter((pid) => matches(commandLineOf(pid) ?? []) && isRunning(pid));
}

/** Waits until a process is gone; false when it still runs after `timeoutMs`. */
async function waitForEnd(pid: number, timeoutMs: number): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (isRunning(pid)) {
    if (Date.now() >= deadline) return false;
    await sleep(POLL_MS);
  }
  return true;
}

/** Sends the signals one after the other, each with its time to work in, until the process is gone. */
export async function stopProcess(
  pid: number,
  steps: readonly { signal: NodeJS.Signals; waitMs: number }[],
): Promise<void> {
  for (const { signal, waitMs } of steps) {
    try {
      process.kill(pid, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ESRCH') return;
      throw error;
    }
    if (await waitForEnd(pid, waitMs)) return;
  }
  throw new Error(`process ${pid} did not end after ${steps.map((step) => step.signal).join(', ')}`);
}

/** Resolves when the process is gone, or never once `abandoned` is aborted. Does not keep our own process running. */
export function whenEnded(pid: number, abandoned: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (isRunning(pid)) return;
      clearInterval(timer);
      resolve();
    }, 500);
    timer.unref();
    abandoned.addEventListener('abort', () => clearInterval(timer), { once: true });
  });
}
