import type { ExecutionHandle } from '../../contracts/execution';
import { textDigest } from '../../domain/execution/evidence';
import { Backoff, pause } from '../../domain/backoff';
import type { CheckedRequest, RunContext, RunEnd } from '../backend';
import { judgeAnswer, type RunnerSaid } from './runner-answers';
import { RunnerClient, type RunnerAnswer } from './runner-client';

export interface RunnerOptions {
  /** Sent as bearer with every request, never recorded. Asked for at each run, so that it can be renewed. */
  token?: () => string | undefined;
  /** Hosts with private addresses that may be runners. Default none. */
  privateHosts?: readonly string[];
  /** First and longest wait between two polls, milliseconds. Default 1,000 and 15,000. */
  pollMs?: { first: number; longest: number };
  /** Wait between two polls of a runner that will call when it is done, milliseconds. Default 300,000. */
  safetyPollMs?: number;
}

type Refused = Extract<RunEnd, { type: 'refused' }>;

/** A job that a runner has. */
interface Job {
  id: string;
  /** The runner offers to cancel it. */
  cancellable: boolean;
  /** Milliseconds since 1970. */
  submittedAt: number;
}

const REQUEST_TIMEOUT_MS = 30_000;
/** The last poll gets this long, though the deadline is there. */
const LAST_POLL_MS = 2_000;
/** A cancelled submit is given this long to say which job it made, so that the job can be cancelled. */
const CANCELLED_SUBMIT_MS = 5_000;
const CANCEL_TIMEOUT_MS = 5_000;
const SAFETY_POLL_MS = 300_000;

/** One command on one runner. */
export class RunnerRun {
  private handle: ExecutionHandle;
  private readonly startedAt = Date.now();
  private deadline: number;

  constructor(
    private readonly id: string,
    private readonly request: CheckedRequest,
    private readonly context: RunContext,
    private readonly options: RunnerOptions,
  ) {
    this.handle = request.handle!;
    this.deadline = this.startedAt + request.timeoutMs;
  }

  async run(): Promise<RunEnd> {
    const { endpoint } = this.handle;
    if (endpoint === undefined) {
      return this.refused('delegation-target-missing', `backend ${this.id} has no endpoint to POST to`, false);
    }
    const { token, privateHosts = [] } = this.options;
    const client = new RunnerClient({ endpoint, token, privateHosts });
    const { resumeFrom } = this.context;
    this.context.started?.();
    try {
      return await (resumeFrom ? this.resume(client, resumeFrom) : this.begin(client));
    } finally {
      client.close();
    }
  }

  /** Sent once, never again: a reply that is lost leaves open whether the runner has the job. */
  private async begin(client: RunnerClient): Promise<RunEnd> {
    if (this.context.signal.aborted) {
      return this.refused('delegation-failed', `${this.id} run was cancelled before it was submitted`, false);
    }
    let reply: RunnerAnswer;
    try {
      reply = await client.submit(this.job(), this.context.runKey, this.remainingMs(), this.patience());
    } catch (error) {
      const code = codeOf(error);
      if (code === 'EPRIVATE') {
        const why =
          'its name leads to a private address and is not on the list of private runner hosts (--runner-private-hosts)';
        return this.refused('endpoint-not-allowed', `${this.id} runner is not asked: ${why}`, false);
      }
      return this.refused('delegation-failed', `${this.id} delegation failed: ${code}`, !NEVER_CONNECTED.has(code));
    }
    if (!isSuccess(reply)) {
      const answered = `${this.id} runner error: runner responded ${reply.status}`;
      return this.refused('delegation-failed', answered, reply.status >= 500);
    }
    const said = judgeAnswer(reply.answer, null);
    if (said.type !== 'running') return this.ended(said);
    const job = { id: said.jobId, cancellable: said.cancellable, submittedAt: this.startedAt };
    this.learn(job);
    try {
      await this.context.targetKnown?.(this.handle);
    } catch {
      await this.cancel(client, job);
      return this.unknown('has a job that nobody may wait for');
    }
    return this.await(client, job, false);
  }

  /** What an earlier process submitted is waited for, until the deadline it had. */
  private async resume(client: RunnerClient, from: ExecutionHandle): Promise<RunEnd> {
    const { runnerJobId, cancellable, submittedAt } = from.metadata ?? {};
    if (typeof runnerJobId !== 'string' || from.endpoint !== this.handle.endpoint) {
      return this.unknown('was told a job whose id is not known');
    }
    const known = typeof submittedAt === 'string' ? Date.parse(submittedAt) : NaN;
    const job = {
      id: runnerJobId,
      cancellable: cancellable === true,
      submittedAt: Math.min(Number.isNaN(known) ? this.startedAt : known, this.startedAt),
    };
    this.learn(job);
    this.deadline = job.submittedAt + this.request.timeoutMs;
    return this.await(client, job, true);
  }

  /** Polls until the job has ended; a job that nobody waits for any more is cancelled. */
  private async await(client: RunnerClient, job: Job, atOnce: boolean): Promise<RunEnd> {
    const { signal, leave, callback, doneHint } = this.context;
    const { first, longest } = this.options.pollMs ?? { first: 1_000, longest: 15_000 };
    const backoff = new Backoff(first, longest);
    for (let polls = 0; ; polls += 1) {
      if (polls > 0 || !atOnce) {
        const calls = callback !== undefined && doneHint?.aborted === false;
        const waitMs = calls ? (this.options.safetyPollMs ?? SAFETY_POLL_MS) : backoff.next();
        const sooner = [signal, ...(leave ? [leave] : []), ...(calls ? [doneHint] : [])];
        await pause(Math.max(Math.min(waitMs, this.remainingMs()), 0), ...sooner);
      }
      if (signal.aborted) return this.given(client, job, 'was cancelled');
      if (this.isToLeave) return { type: 'left' };
      const said = await this.askOnce(client, job.id);
      if (said !== 'again' && said.type !== 'running') {
        return said.type === 'done' ? this.ended(said) : this.given(client, job, said.why);
      }
      if (signal.aborted) return this.given(client, job, 'was cancelled');
      if (this.isToLeave) return { type: 'left' };
      if (this.remainingMs() <= 0) return this.given(client, job, `timed out after ${this.request.timeoutMs} ms`);
    }
  }

  /** One poll. What a runner or the way to it may get over is asked again. */
  private async askOnce(client: RunnerClient, jobId: string): Promise<RunnerSaid | 'again'> {
    let reply: RunnerAnswer;
    try {
      const timeoutMs = Math.min(REQUEST_TIMEOUT_MS, Math.max(this.remainingMs(), LAST_POLL_MS));
      const { signal, leave } = this.context;
      reply = await client.ask(jobId, timeoutMs, leave ? AbortSignal.any([signal, leave]) : signal);
    } catch (error) {
      return codeOf(error) === 'too_large' ? { type: 'unusable', why: 'answered more than 32 MiB' } : 'again';
    }
    if (reply.status === 429 || reply.status >= 500) return 'again';
    if (!isSuccess(reply)) return { type: 'unusable', why: `error: poll responded ${reply.status}` };
    return judgeAnswer(reply.answer, jobId);
  }

  private async given(client: RunnerClient, job: Job, why: string): Promise<Refused> {
    await this.cancel(client, job);
    return this.unknown(why);
  }

  /** Best effort: the outcome is unknown either way. */
  private async cancel(client: RunnerClient, { id, cancellable }: Job): Promise<void> {
    if (cancellable) await client.cancel(id, CANCEL_TIMEOUT_MS).catch(() => undefined);
  }

  private learn({ id, cancellable, submittedAt }: Job): void {
    const metadata = { runnerJobId: id, submittedAt: new Date(submittedAt).toISOString() };
    this.handle = { ...this.handle, metadata: cancellable ? { ...metadata, cancellable } : metadata };
  }

  private ended(said: Exclude<RunnerSaid, { type: 'running' }>): RunEnd {
    if (said.type === 'unusable') return this.unknown(said.why);
    const { exitCode, stdout } = said;
    for (const piece of stdout?.pieces ?? []) this.context.output('stdout', piece);
    return { type: 'exited', exitCode, stdoutDigest: stdout?.digest ?? textDigest(''), handle: this.handle };
  }

  private unknown(why: string): Refused {
    return this.refused('delegation-failed', `${this.id} runner ${why}`, true);
  }

  private refused(code: Refused['code'], reason: string, outcomeUnknown: boolean): Refused {
    return { type: 'refused', code, reason, outcomeUnknown, handle: this.handle };
  }

  private job(): object {
    const { command, args, profile } = this.request;
    const { callback } = this.context;
    return {
      command,
      args,
      env: this.variables(),
      sandboxProfileId: profile.id,
      ...(this.handle.jobId === undefined ? {} : { jobId: this.handle.jobId }),
      ...(callback ? { callback: { url: callback.url, secret: callback.secret.reveal() } } : {}),
    };
  }

  /** What the profile exposes; the runner has a PATH and a HOME of its own. */
  private variables(): Record<string, string> {
    const names = this.request.forwarded.filter((name) => name !== 'PATH' && name !== 'HOME');
    return Object.fromEntries(names.map((name) => [name, this.context.hostEnv[name] ?? '']));
  }

  /** Aborted a while after the run is. */
  private patience(): AbortSignal {
    const { signal } = this.context;
    const end = new AbortController();
    const later = (): void => void setTimeout(() => end.abort(), CANCELLED_SUBMIT_MS).unref();
    signal.addEventListener('abort', later, { once: true });
    return end.signal;
  }

  /** Somebody else waits for the job. */
  private get isToLeave(): boolean {
    return this.context.leave?.aborted === true;
  }

  private remainingMs(): number {
    return this.deadline - Date.now();
  }
}

/** Failures before anything could be sent. */
const NEVER_CONNECTED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']);

const isSuccess = ({ status }: RunnerAnswer): boolean => status >= 200 && status < 300;

const codeOf = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'failed';
