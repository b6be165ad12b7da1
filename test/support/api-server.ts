import pino from 'pino';
import { Registry } from 'prom-client';
import { PolicyCache } from '../../activities/policy-cache';
import type { ApiConfig } from '../../api/app-deps';
import type { ArtifactStore } from '../../api/artifacts/store';
import { startServer, type RunningServer } from '../../api/server';
import type { ProblemCode, ProblemItem } from '../../contracts/problems';
import type { TokenScope } from '../../contracts/terminology';
import type { WorkloadView } from '../../contracts/workflow';
import type { DecisionRecord, WorkloadRecord, WorkloadSummaryRecord } from '../../contracts/workload-record';
import { admit } from '../../ledger/admission';
import { Database } from '../../ledger/database';
import type { UnsentWake } from '../../ledger/outbox';
import { createToken } from '../../ledger/tokens';
import { freshLedgerSchema } from './fresh-schema';

/** What tests look at in answers; each answer has some of it. */
export interface AnswerBody extends WorkloadRecord {
  code: ProblemCode;
  detail: string;
  request_id: string;
  errors: ProblemItem[];
  duplicate: boolean;
  decision: DecisionRecord;
  links: { self: string };
  results: { status: number; workload_id: string; duplicate?: boolean; problem: AnswerBody }[];
  workloads: WorkloadSummaryRecord[];
  next_cursor: string | null;
}

/** An answer with its body read. */
export interface Answer {
  status: number;
  headers: Headers;
  /** Parsed when it is JSON. */
  body: AnswerBody;
  text: string;
}

/** Options of one request. */
export interface Ask {
  token?: string | null;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as it is. */
  raw?: string | Uint8Array<ArrayBuffer>;
  /** Another api than the test's own. */
  url?: string;
}

/** A listening API on a schema of its own. Temporal is not there: wakes are only collected, and `admit` decides by hand. */
export interface TestApi {
  server: RunningServer;
  url: string;
  /** Of its ledger, schema included. */
  databaseUrl: string;
  db: Database;
  wakes: UnsentWake[];
  /** Everything the API has logged, line by line. */
  log: string[];
  /** A token with every scope of tenant `default`. */
  token: string;
  newToken(scopes: TokenScope[], tenantId?: string, ttlDays?: number): Promise<string>;
  ask(method: string, path: string, ask?: Ask): Promise<Answer>;
  admit(workloadId: string): Promise<WorkloadView | null>;
  stop(): Promise<void>;
}

/** Starts it. Stop it in `afterAll`. */
export async function startTestApi(
  options: {
    config?: ApiConfig;
    artifacts?: ArtifactStore;
    connection?: (own: { connectionString: string }) => object;
  } = {},
): Promise<TestApi> {
  const schema = await freshLedgerSchema();
  const direct = new Database({ connection: schema.connection, maxConnections: 5 });
  const db = options.connection ? new Database({ connection: options.connection(schema.connection) }) : direct;
  const wakes: UnsentWake[] = [];
  const log: string[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => void log.push(line) });
  const server = await startServer({
    listen: { port: 0 },
    deps: {
      db,
      wakes: { send: (wake) => void wakes.push(wake) },
      temporalReady: () => Promise.resolve(true),
      logger,
      registry: new Registry(),
      artifacts: options.artifacts,
      ...(options.config && { config: options.config }),
    },
  });
  const newToken: TestApi['newToken'] = async (scopes, tenantId = 'default', ttlDays) => {
    const { plaintext } = await createToken(direct, {
      tenantId,
      name: 'test',
      scopes,
      ...(ttlDays !== undefined && { ttlDays }),
    });
    return plaintext.reveal();
  };
  const token = await newToken(['admin']);
  const policies = new PolicyCache();
  return {
    server,
    url: server.url,
    databaseUrl: schema.url,
    db: direct,
    wakes,
    log,
    token,
    newToken,
    ask: (method, path, ask = {}) => request(ask.url ?? server.url, method, path, { token, ...ask }),
    admit: (workloadId) => admit(direct, policies.evaluate, workloadId),
    stop: async () => {
      await server.close(2000);
      await direct.close();
      if (db !== direct) await db.close();
      await schema.drop();
    },
  };
}

async function request(url: string, method: string, path: string, ask: Ask): Promise<Answer> {
  const body = ask.raw ?? (ask.json === undefined ? undefined : JSON.stringify(ask.json));
  const response = await fetch(url + path, {
    method,
    headers: {
      ...(ask.token && { authorization: `Bearer ${ask.token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...ask.headers,
    },
    ...(body !== undefined && { body }),
  });
  const text = await response.text();
  const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '');
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: (isJson ? JSON.parse(text) : undefined) as AnswerBody,
  };
}

/** A small valid event. */
export const anEvent = (eventId: string, more: object = {}): Record<string, unknown> => ({
  source: 'rss',
  action: 'triage',
  event_id: eventId,
  ...more,
});

/** A policy that dispatches everything. */
export const DISPATCH_ALL = `version: 1
default: { decision: ignore }
rules:
  - id: everything
    when: "true"
    decision: dispatch
`;
