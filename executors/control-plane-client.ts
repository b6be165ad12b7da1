import type { z } from 'zod';
import { outputKept, type OutputStream } from '../contracts/artifacts';
import type { ExecutionEnvelope, ExecutionHandle } from '../contracts/execution';
import type { LifecycleRecord, LifecycleResults } from '../contracts/lifecycle';
import type { Secret } from '../contracts/secret';
import type {
  ClaimRequest,
  IntentGranted,
  LeaseOutcome,
  completeRequest,
  failRequest,
  FinishRequest,
  heartbeatRequest,
} from '../contracts/worker-protocol';
import {
  claimAnswer,
  heardAnswer,
  intentAnswer,
  leaseOutcomeAnswer,
  lifecycleAnswer,
  overAnswer,
  renewAnswer,
  problemFrom,
  type GrantedClaim,
  type HeardAnswer,
  type Lease,
} from './control-plane-answers';
import { HttpExchange, type HttpAnswer } from './http-exchange';

const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * The control plane could not be asked, or did not answer as itself (network, deadline, 5xx, a foreign answer).
 * Whether the request took effect is unknown; every request of the protocol may be repeated.
 */
export class ControlPlaneUnavailable extends Error {
  constructor(
    /** Short reason without secrets, e.g. `ECONNREFUSED`, `timeout`, `http 503 ledger.unavailable`. */
    readonly why: string,
    /** HTTP status, null when there was no answer. */
    readonly status: number | null,
    /** What the answer asked to wait, if it did. */
    readonly retryAfterMs?: number,
  ) {
    super(`the control plane is unavailable: ${why}`);
    this.name = 'ControlPlaneUnavailable';
  }
}

export interface ControlPlaneClientOptions {
  /** Where the api is, e.g. `https://workloadd.example`, with or without a path before `/api`. */
  baseUrl: string;
  workerId: string;
  /** Read at each request, so a rotated credential takes effect at once. */
  credential: () => Secret;
  /** Deadline of each request in milliseconds. Default 10,000. */
  timeoutMs?: number;
}

/** What is told with a renewal. */
export interface LeaseNews {
  running?: true;
  target?: ExecutionHandle;
}

/** What is told of a command's end. */
export type CommandEnd = Omit<FinishRequest, 'envelope'> & { envelope: ExecutionEnvelope };

interface Call<T> {
  method: 'GET' | 'POST';
  path: string;
  answer: z.ZodType<T>;
  /** Bytes are sent as they are, anything else as JSON. */
  body?: unknown;
  leaseToken?: Secret;
}

/**
 * HTTP client of the worker protocol. Refusals by the control plane are `Problem`s; everything else that goes wrong
 * is {@link ControlPlaneUnavailable}. It never retries by itself: only the caller knows what a repeat means.
 */
export class ControlPlaneClient {
  readonly #root: string;
  readonly #timeoutMs: number;
  readonly #exchange = new HttpExchange();

  constructor(private readonly options: ControlPlaneClientOptions) {
    const base = new URL(options.baseUrl);
    this.#root = `${base.origin}${base.pathname.replace(/\/+$/, '')}/api/workers/${encodeURIComponent(options.workerId)}`;
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  }

  /** Asks for the right to act for one workload. */
  claim(request: ClaimRequest): Promise<GrantedClaim> {
    return this.#call({ method: 'POST', path: 'claims', answer: claimAnswer, body: request });
  }

  /** "I am about to hand it over." The same key always gets the same answer. */
  intent(lease: Lease, intentKey: string): Promise<IntentGranted> {
    return this.#lease(lease, 'intent', intentAnswer, { intent_key: intentKey });
  }

  /** What became of the write. */
  complete(lease: Lease, outcome: z.infer<typeof completeRequest>): Promise<LeaseOutcome> {
    return this.#lease(lease, 'complete', leaseOutcomeAnswer, outcome);
  }

  /** A command is under way: keeps its lease, and says what has become known of it. */
  renew(lease: Lease, news: LeaseNews): Promise<z.infer<typeof renewAnswer>> {
    return this.#lease(lease, 'renew', renewAnswer, news);
  }

  /** A command has ended, or was not run. */
  finish(lease: Lease, end: CommandEnd): Promise<LeaseOutcome> {
    return this.#lease(lease, 'finish', leaseOutcomeAnswer, end);
  }

  /** The command printed these bytes, from `offset` of the stream on. Answers how many of the stream are kept. */
  appendOutput(
    lease: Lease,
    { stream, offset }: { stream: OutputStream; offset: number },
    bytes: Uint8Array,
  ): Promise<{ size: number }> {
    const path = `leases/${encodeURIComponent(lease.workId)}/output?stream=${stream}&offset=${offset}`;
    return this.#call({ method: 'POST', path, answer: outputKept, body: bytes, leaseToken: lease.token });
  }

  /** Of these runs, those that nobody waits for any more; at most 500. */
  async over(runKeys: readonly string[]): Promise<string[]> {
    const body = { run_keys: runKeys };
    return (await this.#call({ method: 'POST', path: 'deliveries/over', answer: overAnswer, body })).over;
  }

  /** Nothing was handed over, proven. */
  release(lease: Lease, reason: string): Promise<LeaseOutcome> {
    return this.#lease(lease, 'release', leaseOutcomeAnswer, { reason: reason.slice(0, 64) });
  }

  /** This workload cannot be handed over. */
  fail(lease: Lease, failure: z.infer<typeof failRequest>): Promise<LeaseOutcome> {
    return this.#lease(lease, 'fail', leaseOutcomeAnswer, failure);
  }

  /** Sends 1–100 lifecycle records, in the order received. */
  async lifecycle(records: LifecycleRecord[]): Promise<LifecycleResults> {
    const answer = await this.#call({ method: 'POST', path: 'lifecycle', answer: lifecycleAnswer, body: { records } });
    if (answer.results.length === records.length) return answer as LifecycleResults;
    throw new ControlPlaneUnavailable('lifecycle answer does not match its request', null);
  }

  heartbeat(request: z.infer<typeof heartbeatRequest>): Promise<HeardAnswer> {
    return this.#call({ method: 'POST', path: 'heartbeat', answer: heardAnswer, body: request });
  }

  /** Who am I: pool and state of the worker that the credential belongs to. */
  self(): Promise<HeardAnswer> {
    return this.#call({ method: 'GET', path: '', answer: heardAnswer });
  }

  #lease<T>(lease: Lease, action: string, answer: z.ZodType<T>, body: unknown): Promise<T> {
    const path = `leases/${encodeURIComponent(lease.workId)}/${action}`;
    return this.#call({ method: 'POST', path, answer, body, leaseToken: lease.token });
  }

  async #call<T>(call: Call<T>): Promise<T> {
    const { status, header, text } = await this.#send(call);
    const body = parseJson(text);
    if (status >= 200 && status < 300) {
      const answer = call.answer.safeParse(body);
      if (answer.success) return answer.data;
      throw new ControlPlaneUnavailable(`http ${status} with an answer that is not understood`, status);
    }
    const { problem, code, retryAfterMs } = problemFrom(status, header, body);
    if (problem && status < 500) throw problem;
    throw new ControlPlaneUnavailable(`http ${status} ${code ?? 'without a problem document'}`, status, retryAfterMs);
  }

  async #send(call: Call<unknown>): Promise<HttpAnswer> {
    try {
      return await this.#exchange.send({
        url: call.path === '' ? this.#root : `${this.#root}/${call.path}`,
        method: call.method,
        headers: {
          accept: 'application/json',
          authorization: `Bearer ${this.options.credential().reveal()}`,
          ...(call.body === undefined ? {} : { 'content-type': mediaTypeOf(call.body) }),
          ...(call.leaseToken ? { 'lease-token': call.leaseToken.reveal() } : {}),
        },
        ...(call.body === undefined ? {} : { body: isBytes(call.body) ? call.body : JSON.stringify(call.body) }),
        timeoutMs: this.#timeoutMs,
      });
    } catch (error) {
      throw new ControlPlaneUnavailable(networkReason(error), null);
    }
  }
}

const isBytes = (body: unknown): body is Uint8Array => body instanceof Uint8Array;
const mediaTypeOf = (body: unknown): string => (isBytes(body) ? 'application/octet-stream' : 'application/json');

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A code only: the text of an error may quote a header. */
function networkReason(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? code : 'network_error';
}
