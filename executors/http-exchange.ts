import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';

/** One HTTP request. */
export interface HttpRequest {
  url: string;
  method: 'GET' | 'POST' | 'DELETE';
  headers: Record<string, string>;
  body?: string | Uint8Array;
  /** For the whole exchange, the answer's body included, milliseconds. */
  timeoutMs: number;
  /** Ends the exchange with code `aborted`. */
  signal?: AbortSignal;
  /** Takes the answer's body as it comes; `text` is empty then. Default: it is gathered. */
  take?: (chunk: Buffer) => void;
}

export interface HttpAnswer {
  status: number;
  /** A header by its lower-case name. */
  header: (name: string) => string | null;
  text: string;
}

export interface HttpExchangeOptions {
  /** Longest answer. Default 4 MiB. */
  maxAnswerBytes?: number;
  /** Finds a host's addresses; one that refuses an address keeps the connection from being made. Default: the system's. */
  lookup?: LookupFunction;
}

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * Keeps connections to one server and exchanges requests with it. Plain `node:http`, since `fetch` costs three times the
 * processor time and this is on the path of every delivery. Redirects are not followed. Fails with an error whose `code` says
 * why: a system code, `timeout`, `aborted` or `too_large`.
 */
export class HttpExchange {
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, maxFreeSockets: 8 }),
    'https:': new https.Agent({ keepAlive: true, maxFreeSockets: 8 }),
  };

  constructor(private readonly options: HttpExchangeOptions = {}) {}

  /** Ends the connections it keeps. */
  close(): void {
    for (const agent of Object.values(this.#agents)) agent.destroy();
  }

  send({ url, method, headers, body, timeoutMs, signal, take }: HttpRequest): Promise<HttpAnswer> {
    const secure = url.startsWith('https:');
    const agent = this.#agents[secure ? 'https:' : 'http:'];
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      const request = (secure ? https : http).request(url, {
        method,
        agent,
        headers: { ...headers, ...length },
        ...(this.options.lookup ? { lookup: this.options.lookup } : {}),
      });
      const abort = (): void => void request.destroy(failure('aborted'));
      const deadline = setTimeout(() => request.destroy(failure('timeout')), timeoutMs);
      signal?.addEventListener('abort', abort);
      if (signal?.aborted) abort();
      request.on('error', reject);
      request.on('close', () => {
        clearTimeout(deadline);
        signal?.removeEventListener('abort', abort);
      });
      request.on('response', (response) => {
        readText(response, this.options.maxAnswerBytes ?? MAX_ANSWER_BYTES, take).then(
          (text) => resolve({ status: response.statusCode ?? 0, header: (name) => headerOf(response, name), text }),
          reject,
        );
      });
      request.end(body);
    });
  }
}

async function readText(
  response: http.IncomingMessage,
  maxBytes: number,
  take?: (chunk: Buffer) => void,
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw failure('too_large');
    if (take) take(chunk);
    else chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function headerOf(response: http.IncomingMessage, name: string): string | null {
  const value = response.headers[name];
  return typeof value === 'string' ? value : null;
}

const failure = (code: string): Error => Object.assign(new Error(code), { code });
