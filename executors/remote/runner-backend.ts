import type { ExecutionHandle, ExecutionRequest } from '../../contracts/execution';
import { textDigest } from '../../domain/execution/evidence';
import { Backoff, pause } from '../backoff';
import type { Backend, CheckedRequest, RunContext, RunEnd } from '../backend';
import { OUTPUT_LIMIT_BYTES } from '../child-run';
import { HttpExchange, type HttpAnswer } from '../http-exchange';
import { readAnswer, type RunnerSaid } from './runner-answers';
import { publicLookup, targetFault } from './runner-target';

export interface RunnerOptions {
  /** Sent as bearer with every request, never recorded. Asked for at each run, so that it can be renewed. */
  token?: () => string | undefined;
  /** Hosts with private addresses that may be runners. Default none. */
  privateHosts?: readonly string[];
  /** First and longest wait between two polls, milliseconds. Default 1,000 and 15,000. */
  pollMs?: { first: number; longest: number };
}

/** How the two kinds of runner differ: what they are called and how their handle is made. */
export interface RunnerKind {
  id: 'remote' | 'ci';
  title: string;
  handleOf: (request: ExecutionRequest) => ExecutionHandle | undefined;
}

const REQUEST_TIMEOUT_MS = 30_000;

/** Runs commands on a runner behind HTTP: one POST, then polls until it says that the job is done. */
export function runnerBackend(kind: RunnerKind, options: RunnerOptions = {}): Backend {
  const privateHosts = options.privateHosts ?? [];
  return {
    spec: {
      id: kind.id,
      title: kind.title,
      kind: 'delegating',
      locality: 'remote',
      support: { read: 'attest', write: 'attest', command: 'enforce', network: 'attest', env: 'enforce' },
      defaultTimeoutMs: 120_000,
    },
    handleOf: kind.handleOf,
    check: ({ endpoint }) => (endpoint ? targetFault(endpoint, privateHosts) : null),
    probe: () =>
      Promise.resolve({
        ready: true,
        checks: [{ name: 'http', ok: true, detail: 'a runner is asked only when a command is run' }],
      }),
    run: (request, context) => new RunnerRun(kind.id, request, context, options).run(),
  };
}

type Refused = Extract<RunEnd, { type: 'refused' }>;

/** One command on one runner. */
class RunnerRun {
  private readonly exchange: HttpExchange;
  private readonly deadline: number;
  private readonly endpoint: string | undefined;
  private handle: ExecutionHandle;

  constructor(
    private readonly id: string,
    private readonly request: CheckedRequest,
    private readonly context: RunContext,
    private readonly options: RunnerOptions,
  ) {
    this.handle = request.handle!;
    this.endpoint = this.handle.endpoint;
    this.deadline = Date.now() + request.timeoutMs;
    this.exchange = new HttpExchange({
      maxAnswerBytes: OUTPUT_LIMIT_BYTES,
      lookup: publicLookup(options.privateHosts ?? []),
    });
  }

  async run(): Promise<RunEnd> {
    if (this.endpoint === undefined) {
      return this.refused('delegation-target-missing', `backend ${this.id} has no endpoint to POST to`, false);
    }
    const submitted = await this.submit(this.endpoint);
    if ('code' in submitted) return submitted;
    if (submitted.type !== 'running') return this.ended(submitted);
    await this.learnJob(submitted.jobId);
    const end = await this.poll(this.endpoint, submitted.jobId);
    if (end.type === 'refused' && submitted.cancellable) await this.cancel(this.endpoint, submitted.jobId);
    return end;
  }

  /** Sent once, never again: a reply that is lost leaves open whether the runner has the job. */
  private async submit(endpoint: string): Promise<RunnerSaid | Refused> {
    const { command, args, profile } = this.request;
    const job = {
      command,
      args,
      env: this.variables(),
      sandboxProfileId: profile.id,
      ...(this.handle.jobId === undefined ? {} : { jobId: this.handle.jobId }),
    };
    let answer: HttpAnswer;
    try {
      answer = await this.exchange.send({
        url: endpoint,
        method: 'POST',
        headers: { ...this.headers(), 'content-type': 'application/json', 'idempotency-key': this.context.runKey },
        body: JSON.stringify(job),
        timeoutMs: this.remainingMs(),
        signal: this.context.signal,
      });
    } catch (error) {
      const code = codeOf(error);
      return this.refused('delegation-failed', `${this.id} delegation failed: ${code}`, !NEVER_CONNECTED.has(code));
    }
    if (!isSuccess(answer)) {
      const answered = `${this.id} runner error: runner responded ${answer.status}`;
      return this.refused('delegation-failed', answered, answer.status >= 500);
    }
    return readAnswer(answer.text, null);
  }

  private async poll(endpoint: string, jobId: string): Promise<RunEnd> {
    const { first, longest } = this.options.pollMs ?? { first: 1_000, longest: 15_000 };
    const backoff = new Backoff(first, longest);
    for (;;) {
      await pause(Math.min(backoff.next(), this.remainingMs()), this.context.signal);
      if (this.context.signal.aborted) return this.unknown('was cancelled');
      if (this.remainingMs() <= 0) return this.unknown(`timed out after ${this.request.timeoutMs} ms`);
      const said = await this.askOnce(endpoint, jobId);
      if (said === 'again') continue;
      if (said.type !== 'running') return this.ended(said);
    }
  }

  /** One poll. What a runner or the way to it may get over is asked again. */
  private async askOnce(endpoint: string, jobId: string): Promise<RunnerSaid | 'again'> {
    let answer: HttpAnswer;
    try {
      answer = await this.exchange.send({
        url: withJob(endpoint, jobId),
        method: 'GET',
        headers: this.headers(),
        timeoutMs: Math.min(REQUEST_TIMEOUT_MS, Math.max(this.remainingMs(), 1)),
        signal: this.context.signal,
      });
    } catch (error) {
      const code = codeOf(error);
      return code === 'too_large' ? { type: 'unusable', why: 'answered more than 32 MiB' } : 'again';
    }
    if (answer.status === 429 || answer.status >= 500) return 'again';
    if (!isSuccess(answer)) return { type: 'unusable', why: `error: poll responded ${answer.status}` };
    return readAnswer(answer.text, jobId);
  }

  /** Best effort: the outcome is unknown either way. */
  private async cancel(endpoint: string, jobId: string): Promise<void> {
    const url = withJob(endpoint, jobId);
    await this.exchange
      .send({ url, method: 'DELETE', headers: this.headers(), timeoutMs: 5_000 })
      .catch(() => undefined);
  }

  private async learnJob(jobId: string): Promise<void> {
    this.handle = { ...this.handle, metadata: { runnerJobId: jobId } };
    await this.context.targetKnown?.(this.handle);
  }

  private ended(said: Exclude<RunnerSaid, { type: 'running' }>): RunEnd {
    if (said.type === 'unusable') return this.unknown(said.why);
    this.context.output('stdout', Buffer.from(said.stdout, 'utf8'));
    return {
      type: 'exited',
      exitCode: said.exitCode,
      stdoutDigest: textDigest(said.stdout),
      handle: this.handle,
    };
  }

  private unknown(why: string): Refused {
    return this.refused('delegation-failed', `${this.id} runner ${why}`, true);
  }

  private refused(code: Refused['code'], reason: string, outcomeUnknown: boolean): Refused {
    return { type: 'refused', code, reason, outcomeUnknown, handle: this.handle };
  }

  /** What the profile exposes; the runner has a PATH and a HOME of its own. */
  private variables(): Record<string, string> {
    const names = this.request.forwarded.filter((name) => name !== 'PATH' && name !== 'HOME');
    return Object.fromEntries(names.map((name) => [name, this.context.hostEnv[name] ?? '']));
  }

  private headers(): Record<string, string> {
    const token = this.options.token?.();
    return token === undefined ? {} : { authorization: `Bearer ${token}` };
  }

  private remainingMs(): number {
    return this.deadline - Date.now();
  }
}

/** Failures before anything could be sent. */
const NEVER_CONNECTED = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EPRIVATE']);

const isSuccess = ({ status }: HttpAnswer): boolean => status >= 200 && status < 300;

const withJob = (endpoint: string, jobId: string): string =>
  `${endpoint}${endpoint.includes('?') ? '&' : '?'}jobId=${encodeURIComponent(jobId)}`;

const codeOf = (error: unknown): string =>
  typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'failed';
