import { lookup } from 'node:dns/promises';
import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import { bare, isAddressAllowed, portOf, refusalOf, type TargetRules } from '../../domain/webhooks/allowed-target';
import { retryAfterOf, type TryOutcome } from '../../domain/webhooks/retry';

/** An address of a host. */
export interface Address {
  address: string;
  family: number;
}

/** Asks for all addresses of a host name. */
export type Resolve = (hostname: string) => Promise<Address[]>;

export interface SendOptions {
  rules: TargetRules;
  /** All of one try, from the question to DNS to the end of the answer. Default 10 s. */
  timeoutMs?: number;
  /** Default: the system's resolver. */
  resolve?: Resolve;
}

const TIMEOUT_MS = 10_000;
/** Of an answer's body no more is read; nothing of it is used. */
const MAX_ANSWER_BYTES = 16 * 1024;

/**
 * Posts a body to a URL, once, without following redirects. The rules are looked at anew; the host is resolved once, all of
 * its addresses must be allowed, and the connection goes to one of exactly these. Never throws.
 */
export async function send(
  target: string,
  body: string,
  headers: Record<string, string>,
  options: SendOptions,
): Promise<TryOutcome> {
  const url = new URL(target);
  if (refusalOf(url, options.rules) !== null) return failure('forbidden_host');
  const deadline = AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS);
  try {
    const address = await addressOf(url, options, deadline);
    if (!address) return failure('forbidden_address');
    return await post(url, address, body, headers, deadline);
  } catch (error) {
    return failure(deadline.aborted ? 'timeout' : codeOf(error));
  }
}

const failure = (error: string): TryOutcome => ({ status: null, error, retryAfterMs: null });

/** Null when the host has an address that may not be called. */
async function addressOf(url: URL, options: SendOptions, deadline: AbortSignal): Promise<Address | null> {
  const hostname = bare(url.hostname);
  const family = isIP(hostname);
  const found =
    family !== 0
      ? [{ address: hostname, family }]
      : await orAbort((options.resolve ?? systemResolver)(hostname), deadline);
  const [first] = found;
  return first && found.every(({ address }) => isAddressAllowed(address, options.rules)) ? first : null;
}

const systemResolver: Resolve = (hostname) => lookup(hostname, { all: true });

async function orAbort<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
  });
  return Promise.race([work, aborted]);
}

function post(
  url: URL,
  { address, family }: Address,
  body: string,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<TryOutcome> {
  const pinned: LookupFunction = (_hostname, { all }, answer) =>
    all ? answer(null, [{ address, family }]) : answer(null, address, family);
  const options: RequestOptions & { servername?: string } = {
    host: bare(url.hostname),
    port: portOf(url),
    path: url.pathname + url.search,
    method: 'POST',
    headers: { ...headers, host: url.host, 'content-length': String(Buffer.byteLength(body)) },
    lookup: pinned,
    // A connection of its own: none that was made to an address which was looked at earlier.
    agent: false,
    signal,
  };
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? httpsRequest : httpRequest)(options, (response) => {
      const outcome = outcomeOf(response);
      const done = (): void => resolve(outcome);
      let bytes = 0;
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > MAX_ANSWER_BYTES) request.destroy();
      });
      response.on('error', done);
      response.on('close', done);
    });
    request.on('error', reject);
    request.end(body);
  });
}

function outcomeOf({ statusCode = 0, headers }: IncomingMessage): TryOutcome {
  const ok = statusCode >= 200 && statusCode < 300;
  return {
    status: statusCode,
    error: ok ? null : statusCode >= 300 && statusCode < 400 ? 'redirect' : 'refused',
    retryAfterMs: retryAfterOf(headers['retry-after'], Date.now()),
  };
}

const TLS = /^(ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|EPROTO)/;

/** A stable code for a failure; its text may quote the URL. */
function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  if (typeof code !== 'string') return 'network';
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') return 'dns';
  if (code === 'ECONNREFUSED') return 'connection_refused';
  return TLS.test(code) ? 'tls' : 'network';
}
