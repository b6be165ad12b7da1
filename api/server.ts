import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import express from 'express';
import type { Express } from 'express';
import helmet from 'helmet';
import { PolicyCache } from '../activities/policy-cache';
import { Problem } from '../contracts/problems';
import type { ApiDeps, ListenOptions, RouteDeps } from './app-deps';
import { Followers } from './artifacts/followers';
import { OutputNews } from './artifacts/output-news';
import { Connections } from './connections';
import { DecisionWaiters } from './decision-waiters';
import { FailureBackoff } from './failure-backoff';
import { apiMetrics } from './metrics';
import { mountRoutes } from './mount';
import { PolicyDiffs } from './policy-diffs';
import { notFound, problemHandler } from './problem';
import { ReadinessProbe } from './readiness';
import { requestLog } from './request-log';
import { ROUTES } from './routes';
import { NO_WEBHOOKS } from './webhook-settings';

/** The express app, and what has to be told when the process stops. */
export interface Api {
  app: Express;
  /** Answers a request that came in at the operators' address. */
  answerOperator: RequestListener;
  /** From now on it is not ready, nobody waits for a decision and new requests are `shutting_down`. */
  drain(): void;
}

const MAX_WAITERS = 200;

/** Builds the HTTP API. It holds no resources but `deps`. */
function createApp(deps: ApiDeps): Api {
  const waiters = new DecisionWaiters(deps.db, deps.config?.maxWaiters ?? MAX_WAITERS);
  const readiness = new ReadinessProbe(deps.db, deps.temporalReady);
  const ofOperators = new WeakSet<IncomingMessage>();
  const auth = {
    db: deps.db,
    backoff: new FailureBackoff(),
    servesOperators: (request: IncomingMessage) => !deps.config?.operatorListen || ofOperators.has(request),
  };
  const webhooks = deps.config?.webhooks ?? NO_WEBHOOKS;
  const policyDiffs = new PolicyDiffs();
  const routeDeps: RouteDeps = {
    ...deps,
    auth,
    waiters,
    readiness,
    policies: new PolicyCache(),
    policyDiffs,
    webhooks,
    outputNews: new OutputNews(),
    followers: new Followers(),
  };

  const app = express();
  app.set('trust proxy', deps.config?.trustProxy ?? false);
  app.set('etag', false);
  app.set('query parser', false);
  app.disable('x-powered-by');
  app.use(requestLog(deps.logger));
  app.use(apiMetrics(deps.registry, deps.db).requests);
  app.use(
    helmet({
      contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } },
      // Whoever ends TLS in front of this decides about HSTS.
      strictTransportSecurity: false,
    }),
  );
  app.use((request, response, next) => {
    response.setHeader('Cache-Control', 'no-store');
    if (!readiness.isDraining) return next();
    response.setHeader('Connection', 'close');
    if (request.path === '/livez' || request.path === '/readyz') return next();
    throw new Problem('shutting_down', 'This instance is shutting down; another one may answer.');
  });
  app.use(mountRoutes(ROUTES, routeDeps));
  app.use(notFound);
  app.use(problemHandler);
  return {
    app,
    answerOperator: (request, response) => {
      ofOperators.add(request);
      app(request, response);
    },
    drain: () => {
      readiness.drain();
      waiters.stop();
    },
  };
}

/** A listening API. */
export interface RunningServer {
  /** `http://host:port`, with the port that was taken. */
  url: string;
  port: number;
  /** The operators' address; null when they have none of their own. */
  operatorUrl: string | null;
  /** Stops within `deadlineMs` (default 10,000): accepts no more, finishes what is under way, then cuts what is left. */
  close(deadlineMs?: number): Promise<void>;
}

/** Starts the API. Fails when an address cannot be taken. */
export async function startServer({ listen, deps }: { listen: ListenOptions; deps: ApiDeps }): Promise<RunningServer> {
  const api = createApp(deps);
  const { operatorListen } = deps.config ?? {};
  const main = await listenAt(listen, api.app);
  const operators =
    operatorListen &&
    (await listenAt(operatorListen, api.answerOperator).catch(async (error: unknown) => {
      await main.close(0);
      throw error;
    }));
  let closing: Promise<unknown> | undefined;
  return {
    url: main.url,
    port: main.port,
    operatorUrl: operators?.url ?? null,
    close: async (deadlineMs = 10_000) => {
      api.drain();
      closing ??= Promise.all([main.close(deadlineMs), operators?.close(deadlineMs)]);
      await closing;
    },
  };
}

interface Listener {
  url: string;
  port: number;
  close(deadlineMs: number): Promise<void>;
}

async function listenAt(
  { host = '127.0.0.1', port: wanted }: ListenOptions,
  answer: RequestListener,
): Promise<Listener> {
  const server = createServer(
    // Slow or oversized heads and slow bodies are cut off; bodies themselves are bounded by the routes.
    { maxHeaderSize: 16 * 1024, headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 2_000 },
    answer,
  );
  server.keepAliveTimeout = 65_000;
  server.maxHeadersCount = 100;
  server.on('clientError', refuseUnreadable);
  const connections = new Connections(server);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(wanted, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    close: (deadlineMs) => stop(server, connections, deadlineMs),
  };
}

async function stop(server: Server, connections: Connections, deadlineMs: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  connections.closeUnused();
  const deadline = setTimeout(() => server.closeAllConnections(), deadlineMs);
  await closed;
  clearTimeout(deadline);
}

/** Requests that HTTP itself cannot read never reach a route; they get a problem document too. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  const [status, code, title] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['431 Request Header Fields Too Large', 'request.too_large', 'The head of the request is larger than 16 KiB.']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? ['408 Request Timeout', 'request.malformed', 'The request came too slowly.']
        : ['400 Bad Request', 'request.malformed', 'This is not HTTP.'];
  const body = JSON.stringify({ title, status: Number(status.slice(0, 3)), code, detail: title });
  socket.end(
    `HTTP/1.1 ${status}\r\nContent-Type: application/problem+json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
  );
}
