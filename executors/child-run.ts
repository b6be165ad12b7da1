import { spawn, type ChildProcess } from 'node:child_process';
import { StdoutDigest } from '../domain/execution/evidence';
import { childDescriptors } from './inherited-descriptors';

/** Bytes of each stream that count. */
export const OUTPUT_LIMIT_BYTES = 32 * 1024 * 1024;
/** What a command gets between being asked to end and being killed. */
const GRACE_MS = 5_000;
/** Bytes of stderr that are kept for saying why. */
const HEAD_BYTES = 4096;
/** After the command ended, its output is read for this long from whoever else holds its pipes. */
const DRAIN_MS = 1_000;

export interface ChildCommand {
  command: string;
  args: readonly string[];
  cwd: string;
  /** All it gets. */
  env: NodeJS.ProcessEnv;
  timeoutMs: number;
  signal: AbortSignal;
  output: (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void;
  /** Told its pid, which is that of its group too. Must not throw. Default: nothing. */
  spawned?: (pid: number) => void;
  /** Called once before the kill when it is ended early. Default: nothing. */
  beforeKill?: () => Promise<unknown>;
  /** Milliseconds from the request to end to the kill. Default 5,000. */
  graceMs?: number;
}

export interface ChildEnd {
  /** Null: ended by a signal, or ended early, or never started. */
  exitCode: number | null;
  /** Why it was ended early or not started; null when it ended by itself. */
  cut: 'spawn' | 'timeout' | 'cancelled' | 'overflow' | null;
  /** The system's code when it could not be started, e.g. `ENOENT`; the signal's name when one ended it. */
  cause: string | null;
  stdoutDigest: string;
  /** The first lines of stderr, at most 4 KiB. */
  stderrHead: string;
  stderrCut: boolean;
}

/**
 * Starts a command in a process group of its own and waits for its end. Whatever is left of the group afterwards is killed. Output
 * over the limit ends it, always in the same way: no exit code, and the digest of exactly the first 32 MiB.
 */
export async function runChild(request: ChildCommand): Promise<ChildEnd> {
  const { command, args, cwd, env, timeoutMs, signal, graceMs = GRACE_MS } = request;
  const digest = new StdoutDigest();
  const end = { cut: null as ChildEnd['cut'], cause: null as string | null, stderrCut: false };
  const head: Buffer[] = [];
  const seen = { stdout: 0, stderr: 0, head: 0 };
  const result = (exitCode: number | null): ChildEnd => ({
    exitCode: end.cut === null ? exitCode : null,
    ...end,
    stdoutDigest: digest.end(),
    stderrHead: Buffer.concat(head).toString('utf8'),
  });
  if (signal.aborted) {
    end.cut = 'cancelled';
    return result(null);
  }

  const started = await start(command, args, cwd, env);
  if ('failure' in started) {
    end.cut = 'spawn';
    end.cause = started.failure;
    return result(null);
  }
  const { child } = started;
  request.spawned?.(child.pid!);
  const ending = new Ending(child, graceMs, request.beforeKill);
  const cutShort = (cut: 'timeout' | 'cancelled' | 'overflow'): void => {
    end.cut ??= cut;
    ending.begin(cut === 'overflow');
  };
  const abort = (): void => cutShort('cancelled');
  const timer = setTimeout(() => cutShort('timeout'), timeoutMs);
  signal.addEventListener('abort', abort);

  child.stdout!.on('data', (chunk: Buffer) => {
    const taken = chunk.subarray(0, Math.max(0, OUTPUT_LIMIT_BYTES - seen.stdout));
    seen.stdout += chunk.length;
    if (taken.length > 0) {
      digest.add(taken);
      request.output('stdout', taken);
    }
    if (seen.stdout > OUTPUT_LIMIT_BYTES) cutShort('overflow');
  });
  child.stderr!.on('data', (chunk: Buffer) => {
    const taken = chunk.subarray(0, Math.max(0, OUTPUT_LIMIT_BYTES - seen.stderr));
    seen.stderr += chunk.length;
    end.stderrCut = seen.stderr > OUTPUT_LIMIT_BYTES;
    if (taken.length === 0) return;
    const shown = taken.subarray(0, Math.max(0, HEAD_BYTES - seen.head));
    seen.head += shown.length;
    if (shown.length > 0) head.push(Buffer.from(shown));
    request.output('stderr', taken);
  });

  const [exitCode, endedBy] = await exitOf(child);
  clearTimeout(timer);
  signal.removeEventListener('abort', abort);
  await ending.finish();
  end.cause = endedBy;
  return result(exitCode);
}

/** The process, or the system's code of why there is none. */
async function start(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv,
): Promise<{ child: ChildProcess } | { failure: string }> {
  const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? 'unknown';
  const { stdio, release } = childDescriptors();
  try {
    const child = spawn(command, args, { cwd, env, shell: false, detached: true, stdio });
    if (child.pid !== undefined) return { child };
    return { failure: codeOf(await new Promise((resolve) => child.once('error', resolve))) };
  } catch (error) {
    return { failure: codeOf(error) };
  } finally {
    release();
  }
}

/** Ends when the command has ended and its pipes are closed, or soon after its end when somebody else keeps them open. */
function exitOf(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  return new Promise((resolve) => {
    let drain: NodeJS.Timeout | undefined;
    child.once('exit', (code, signal) => {
      killGroup(child, 'SIGKILL');
      drain = setTimeout(() => {
        child.stdout?.destroy();
        child.stderr?.destroy();
        resolve([code, signal]);
      }, DRAIN_MS);
    });
    child.once('close', (code, signal) => {
      clearTimeout(drain);
      resolve([code, signal]);
    });
  });
}

/** Asks the group to end, and kills it when it does not. */
class Ending {
  private killTimer: NodeJS.Timeout | undefined;
  private hook: Promise<unknown> | null = null;

  constructor(
    private readonly child: ChildProcess,
    private readonly graceMs: number,
    private readonly beforeKill: (() => Promise<unknown>) | undefined,
  ) {}

  begin(atOnce: boolean): void {
    if (this.hook) return;
    this.hook = this.beforeKill?.() ?? Promise.resolve();
    killGroup(this.child, atOnce ? 'SIGKILL' : 'SIGTERM');
    this.killTimer = setTimeout(() => killGroup(this.child, 'SIGKILL'), this.graceMs);
  }

  async finish(): Promise<void> {
    clearTimeout(this.killTimer);
    await this.hook;
  }
}

/** To the whole group: its number is that of the command, and stays taken while a member lives. */
function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-child.pid!, signal);
  } catch {
    // Nobody is left in it.
  }
}
