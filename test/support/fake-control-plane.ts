import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { z } from 'zod';
import { lifecycleBatch, type LifecycleRecord } from '../../contracts/lifecycle';
import { PROBLEMS, type ProblemCode } from '../../contracts/problems';
import { Secret } from '../../contracts/secret';
import {
  claimRequest,
  completeRequest,
  failRequest,
  heartbeatRequest,
  intentRequest,
  releaseRequest,
} from '../../contracts/worker-protocol';
import { ControlPlaneClient } from '../../executors/control-plane-client';

/** One request as the fake saw it. */
export interface SeenRequest {
  /** Route below `/api/workers/{id}`: `claims`, `intent`, `complete`, `release`, `fail`, `lifecycle`. */
  route: string;
  body: Record<string, unknown>;
  leaseToken: string | undefined;
}

/** How to answer: a value is 200/201, a code is a problem, `down` breaks the connection, `html` is a proxy's page. */
export type Answer =
  | { json: unknown }
  | { problem: ProblemCode; retryAfter?: number; extra?: Record<string, unknown> }
  | { html: number }
  | 'down';

/** What the protocol says of each route's body. */
const BODIES: Record<string, z.ZodType> = {
  claims: claimRequest,
  intent: intentRequest,
  complete: completeRequest,
  release: releaseRequest,
  fail: failRequest,
  lifecycle: lifecycleBatch,
  heartbeat: heartbeatRequest,
};

/** An api of scripted answers, for the worker's decisions only: it keeps no state and proves nothing about the real one. */
export class FakeControlPlane {
  readonly seen: SeenRequest[] = [];
  /** Requests that break the protocol's schemas; {@link stop} fails when there are any. */
  readonly malformed: SeenRequest[] = [];
  readonly #server = createServer((request, response) => {
    void readBody(request).then((text) => {
      const route = (request.url ?? '').split('/').at(-1) ?? '';
      const body = (text === '' ? {} : JSON.parse(text)) as Record<string, unknown>;
      const seen = { route, body, leaseToken: request.headers['lease-token'] as string | undefined };
      this.seen.push(seen);
      if (!(BODIES[route]?.safeParse(body).success ?? true)) this.malformed.push(seen);
      const answer = this.answer(seen);
      if (answer === 'down') return request.socket.destroy();
      if ('json' in answer) {
        return response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer.json));
      }
      if ('html' in answer) return response.writeHead(answer.html, { 'content-type': 'text/html' }).end('<h1>no</h1>');
      response.writeHead(PROBLEMS[answer.problem], {
        'content-type': 'application/problem+json',
        ...(answer.retryAfter === undefined ? {} : { 'retry-after': String(answer.retryAfter) }),
      });
      response.end(JSON.stringify({ code: answer.problem, detail: 'as the test says', ...answer.extra }));
    });
  });

  /** Set by the test. */
  answer: (request: SeenRequest) => Answer = () => ({ json: {} });

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  client(options: { timeoutMs?: number } = {}): ControlPlaneClient {
    return new ControlPlaneClient({
      baseUrl: this.baseUrl,
      workerId: 'w1',
      credential: () => new Secret('oww_credential'),
      ...options,
    });
  }

  routes(): string[] {
    return this.seen.map(({ route }) => route);
  }

  /** The records of all lifecycle requests, in order. */
  lifecycle(): LifecycleRecord[] {
    return this.seen.flatMap(({ route, body }) =>
      route === 'lifecycle' ? (body['records'] as LifecycleRecord[]) : [],
    );
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    if (this.malformed.length > 0) throw new Error(`malformed requests: ${JSON.stringify(this.malformed)}`);
  }
}

/** The answer of a lifecycle route that takes everything. */
export function takeAll({ body }: SeenRequest): Answer {
  return { json: { results: (body['records'] as unknown[]).map(() => ({ effect: 'applied', state: 'running' })) } };
}

/** A granted claim. */
export function claimAnswer(overrides: Record<string, unknown> = {}): Answer {
  return {
    json: {
      work_id: 'wl_1',
      tenant_id: 'default',
      epoch: 1,
      lease_token: 'lease-secret',
      expires_at: '2030-01-01T00:00:00Z',
      ttl_ms: 30_000,
      executor: 'opencrow',
      delivery_number: 1,
      delivery_id: 'wl_1',
      event: { source: 'rss', action: 'triage', event_id: 'rss:1', data: { entry_id: 7 } },
      trigger: { prompt: 'Triage', include: ['entry_id'], response_policy: null },
      ...overrides,
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('utf8');
}
