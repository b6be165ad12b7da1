import { z } from 'zod';
import { pause } from '../../domain/backoff';
import { problemText } from '../service-access';

/** The service said no, for good. */
export class ServiceRefused extends Error {
  constructor(
    readonly status: number,
    /** Stable code of the problem, e.g. `auth.required`. */
    readonly code: string,
    text: string,
  ) {
    super(text);
    this.name = 'ServiceRefused';
  }
}

/** Nothing was heard of the service for as long as is waited for it. */
export class ServiceAway extends Error {
  constructor(url: string, ms: number) {
    super(`${url} has not answered for ${Math.round(ms / 1000)} s`);
    this.name = 'ServiceAway';
  }
}

export interface ServiceRequest<Answer extends z.ZodType> {
  method: 'GET' | 'POST';
  path: string;
  headers?: Record<string, string>;
  json?: object;
  answer: Answer;
}

const PATIENCE_MS = 60_000;
/** Longer than the longest wait that an answer can be asked for. */
const REQUEST_TIMEOUT_MS = 30_000;
const RETRY_MS = 1_000;

export interface ServiceOptions {
  /** Told when the service goes away, and when it is back. */
  tell: (text: string) => void;
  /** Milliseconds without an answer after which it is given up. Default one minute: a restart takes seconds. */
  patienceMs?: number;
  /** Milliseconds between two tries. Default 1,000. */
  retryMs?: number;
}

/** A running service. Lost connections, 429 and 5xx are got over: what is asked must do no harm when it is asked twice. */
export class Service {
  private heardAt = performance.now();

  constructor(
    readonly url: string,
    private readonly token: () => string,
    private readonly options: ServiceOptions,
  ) {}

  /** Asks until there is an answer. Rejects with {@link ServiceRefused} or {@link ServiceAway}. */
  async ask<Answer extends z.ZodType>(request: ServiceRequest<Answer>): Promise<z.output<Answer>> {
    const { tell, patienceMs = PATIENCE_MS, retryMs = RETRY_MS } = this.options;
    for (let failures = 0; ; failures += 1) {
      const response = await this.once(request);
      if (response && response.status !== 429 && response.status < 500) {
        if (failures > 1) tell('the service answers again');
        return answerOf(response, request.answer);
      }
      if (performance.now() - this.heardAt > patienceMs) throw new ServiceAway(this.url, patienceMs);
      if (failures === 1) tell(`no answer from ${this.url}${response ? ` (${response.status})` : ''}: trying again`);
      await pause(retryMs);
    }
  }

  /** A stream of this path; null when there is none now. Rejects with {@link ServiceRefused}. */
  async stream(
    path: string,
    headers: Record<string, string>,
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array> | null> {
    const response = await fetch(this.url + path, { headers: this.headers(headers), signal }).catch(() => null);
    if (response === null || response.status === 429 || response.status >= 500) return null;
    if (!response.ok) throw refusalOf(response.status, await jsonOf(response));
    return response.body;
  }

  private async once({
    method,
    path,
    headers = {},
    json,
  }: ServiceRequest<z.ZodType>): Promise<{ status: number; body: unknown } | null> {
    try {
      const response = await fetch(this.url + path, {
        method,
        headers: this.headers({ ...headers, ...(json && { 'content-type': 'application/json' }) }),
        ...(json && { body: JSON.stringify(json) }),
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const body = await jsonOf(response);
      if (response.status < 500) this.heardAt = performance.now();
      return { status: response.status, body };
    } catch {
      return null;
    }
  }

  private headers(more: Record<string, string>): Record<string, string> {
    return { authorization: `Bearer ${this.token()}`, ...more };
  }
}

function answerOf<Answer extends z.ZodType>(
  { status, body }: { status: number; body: unknown },
  answer: Answer,
): z.output<Answer> {
  if (status >= 300) throw refusalOf(status, body);
  const parsed = answer.safeParse(body);
  if (parsed.success) return parsed.data;
  throw new ServiceRefused(status, 'unknown', 'the service gives an answer that this version does not know');
}

function refusalOf(status: number, body: unknown): ServiceRefused {
  const code = z.object({ code: z.string() }).safeParse(body);
  return new ServiceRefused(status, code.success ? code.data.code : 'unknown', problemText(status, body));
}

const jsonOf = (response: Response): Promise<unknown> => response.json().catch(() => null);
