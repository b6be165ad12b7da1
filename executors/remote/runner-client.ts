import { HttpExchange } from '../http-exchange';
import { AnswerReader, MAX_ANSWER_BYTES, type ReadAnswer } from './answer-reader';
import { publicLookup } from './runner-target';

export interface RunnerAnswer {
  status: number;
  answer: ReadAnswer | 'too-large';
}

export interface RunnerClientOptions {
  endpoint: string;
  token: (() => string | undefined) | undefined;
  privateHosts: readonly string[];
}

/** The three requests of the runner protocol. Each fails with an error whose `code` says why. */
export class RunnerClient {
  private readonly exchange: HttpExchange;

  constructor(private readonly options: RunnerClientOptions) {
    this.exchange = new HttpExchange({
      maxAnswerBytes: MAX_ANSWER_BYTES,
      lookup: publicLookup(options.privateHosts),
    });
  }

  submit(job: object, idempotencyKey: string, timeoutMs: number, signal: AbortSignal): Promise<RunnerAnswer> {
    const headers = { 'content-type': 'application/json', 'idempotency-key': idempotencyKey };
    return this.send('POST', this.options.endpoint, { headers, body: JSON.stringify(job), timeoutMs, signal });
  }

  ask(jobId: string, timeoutMs: number, signal: AbortSignal): Promise<RunnerAnswer> {
    return this.send('GET', this.urlOf(jobId), { headers: {}, timeoutMs, signal });
  }

  cancel(jobId: string, timeoutMs: number): Promise<RunnerAnswer> {
    return this.send('DELETE', this.urlOf(jobId), { headers: {}, timeoutMs });
  }

  close(): void {
    this.exchange.close();
  }

  private async send(
    method: 'GET' | 'POST' | 'DELETE',
    url: string,
    { headers, ...rest }: { headers: Record<string, string>; body?: string; timeoutMs: number; signal?: AbortSignal },
  ): Promise<RunnerAnswer> {
    const reader = new AnswerReader();
    const token = this.options.token?.();
    const { status } = await this.exchange.send({
      method,
      url,
      headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
      ...rest,
      take: (chunk) => reader.add(chunk),
    });
    return { status, answer: reader.end() };
  }

  private urlOf(jobId: string): string {
    const { endpoint } = this.options;
    return `${endpoint}${endpoint.includes('?') ? '&' : '?'}jobId=${encodeURIComponent(jobId)}`;
  }
}
