import http from 'node:http';
import https from 'node:https';

/** One HTTP request. */
export interface HttpRequest {
  url: string;
  method: 'GET' | 'POST';
  headers: Record<string, string>;
  body?: string;
  /** For the whole exchange, the answer's body included, milliseconds. */
  timeoutMs: number;
}

export interface HttpAnswer {
  status: number;
  /** A header by its lower-case name. */
  header: (name: string) => string | null;
  text: string;
}

const MAX_ANSWER_BYTES = 4 * 1024 * 1024;

/**
 * Keeps connections to one server and exchanges requests with it. Plain `node:http`, since `fetch` costs three times the
 * processor time and this is on the path of every delivery. Redirects are not followed. Fails with an error whose `code` says
 * why: a system code, `timeout` or `too_large`.
 */
export class HttpExchange {
  readonly #agents = {
    'http:': new http.Agent({ keepAlive: true, maxFreeSockets: 8 }),
    'https:': new https.Agent({ keepAlive: true, maxFreeSockets: 8 }),
  };

  send({ url, method, headers, body, timeoutMs }: HttpRequest): Promise<HttpAnswer> {
    const secure = url.startsWith('https:');
    const agent = this.#agents[secure ? 'https:' : 'http:'];
    return new Promise((resolve, reject) => {
      const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) };
      const request = (secure ? https : http).request(url, { method, agent, headers: { ...headers, ...length } });
      const deadline = setTimeout(() => request.destroy(failure('timeout')), timeoutMs);
      request.on('error', reject);
      request.on('close', () => clearTimeout(deadline));
      request.on('response', (response) => {
        readText(response).then(
          (text) => resolve({ status: response.statusCode ?? 0, header: (name) => headerOf(response, name), text }),
          reject,
        );
      });
      request.end(body);
    });
  }
}

async function readText(response: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw failure('too_large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function headerOf(response: http.IncomingMessage, name: string): string | null {
  const value = response.headers[name];
  return typeof value === 'string' ? value : null;
}

const failure = (code: string): Error => Object.assign(new Error(code), { code });
