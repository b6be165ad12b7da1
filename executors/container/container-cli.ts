import { runChild, type ChildEnd } from '../child-run';
import { hostVariablesOf } from './cli-environment';

const linesOf = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

/** The first line that is not blank. */
export const firstLine = (text: string): string | null => linesOf(text)[0] ?? null;

/** The longest time that getting an image may take. */
const PULL_MS = 900_000;
/** Bytes of an answer that are read. */
const ANSWER_BYTES = 256 * 1024;

export interface CliAnswer {
  ok: boolean;
  /** What it printed, cut off at 256 KiB. */
  text: string;
  /** The first line of stdout; null when there is none. */
  line: string | null;
  /** The first line of stderr, or what else kept it from answering. */
  why: string;
  /** The first 4 KiB of it. */
  stderr: string;
}

/** Short questions to a container runtime's command line. */
export class ContainerCli {
  constructor(
    readonly runtime: string,
    private readonly hostEnv: NodeJS.ProcessEnv,
  ) {}

  /** Asks one thing and waits for the answer, at most `timeoutMs` (default 15,000) or until the signal. Never rejects. */
  async ask(
    args: readonly string[],
    timeoutMs = 15_000,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<CliAnswer> {
    const printed: Buffer[] = [];
    let bytes = 0;
    const end = await runChild({
      command: this.runtime,
      args,
      cwd: '/',
      env: hostVariablesOf(this.hostEnv),
      timeoutMs,
      signal,
      output: (stream, chunk) => {
        if (stream !== 'stdout' || bytes >= ANSWER_BYTES) return;
        printed.push(Buffer.from(chunk));
        bytes += chunk.length;
      },
      graceMs: 500,
    });
    const text = Buffer.concat(printed).toString('utf8', 0, ANSWER_BYTES);
    return {
      ok: end.exitCode === 0,
      text,
      line: firstLine(text),
      why: whyNot(this.runtime, end),
      stderr: end.stderrHead,
    };
  }

  /**
   * Sees to it that the image is there, so that getting it takes nothing of a command's time. Null when it is, else why it cannot
   * be had.
   */
  async pullMissing(image: string, signal: AbortSignal): Promise<string | null> {
    if ((await this.ask(['image', 'inspect', '--format', '{{.Id}}', image])).ok) return null;
    const { ok, why, stderr } = await this.ask(['pull', image], PULL_MS, signal);
    // Before the error, a pull tells of its progress.
    return ok ? null : (linesOf(stderr).at(-1) ?? why);
  }

  /** Kills and removes a container: ending the command line that started it does neither. False when it was not there. */
  async remove(name: string): Promise<boolean> {
    await this.ask(['kill', name]);
    return (await this.ask(['rm', '-f', name])).ok;
  }

  /**
   * Whether the daemon answers. Only its version, printed, says so: with the daemon away the command line still prints a blank
   * line, and the exit code of a run tells other things too.
   */
  async preflight(): Promise<{ version: string } | { why: string }> {
    const answer = await this.ask(['version', '--format', '{{.Server.Version}}']);
    return answer.ok && answer.line !== null ? { version: answer.line } : { why: answer.why };
  }
}

function whyNot(runtime: string, { cut, cause, stderrHead }: ChildEnd): string {
  if (cut === 'spawn') return cause === 'ENOENT' ? `no ${runtime} on PATH` : `${runtime} cannot be started: ${cause}`;
  if (cut === 'timeout') return `${runtime} did not answer in time`;
  return firstLine(stderrHead) ?? `${runtime} daemon not reachable`;
}
