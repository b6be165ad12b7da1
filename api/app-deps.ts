import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { PolicyCache } from '../activities/policy-cache';
import type { Database } from '../ledger/database';
import type { UnsentWake } from '../ledger/outbox';
import type { Followers } from './artifacts/followers';
import type { OutputNews } from './artifacts/output-news';
import type { ArtifactStore } from './artifacts/store';
import type { AuthContext } from './auth';
import type { DecisionWaiters } from './decision-waiters';
import type { PolicyDiffs } from './policy-diffs';
import type { ReadinessProbe } from './readiness';
import type { WebhookSettings } from './webhook-settings';

/** Takes hints about committed facts. */
export interface WakeSender {
  /** A hint after a commit: never waits, never throws, may be lost. The relay sends what nobody sent. */
  send(unsent: UnsentWake): void;
}

/** Where to listen. */
export interface ListenOptions {
  /** Default `127.0.0.1`: this host only. */
  host?: string;
  /** 0 takes a free one. */
  port: number;
}

/** What can be set about the API. */
export interface ApiConfig {
  /**
   * Proxies to trust for the client's address (express `trust proxy`): false, a number of hops, or addresses. Default false:
   * the peer is the client.
   */
  trustProxy?: boolean | number | string;
  /** Requests a minute that one token or worker credential may make; 0 turns the limit off. Default 0. */
  requestsPerMinute?: number;
  /** Requests that may wait for their decision at once; more are answered without waiting. Default 200. */
  maxWaiters?: number;
  /** Life of a command's lease without a renewal, milliseconds. Default 30,000. */
  commandLeaseMs?: number;
  /** Time between two heartbeats that workers are asked for, milliseconds. Default 15,000. */
  heartbeatMs?: number;
  /** A second address, and the only one where operators' tokens are good. Default: they are good at the first. */
  operatorListen?: ListenOptions | undefined;
  /** Callbacks, subscriptions and signed inbound webhooks. Default: none of them. */
  webhooks?: WebhookSettings;
}

/** What the API needs from its process. */
export interface ApiDeps {
  db: Database;
  wakes: WakeSender;
  /** Whether Temporal answers now. Reported only: events are accepted without it. */
  temporalReady: () => Promise<boolean>;
  logger: Logger;
  /** Where the API's metrics go and what `/metrics` shows. */
  registry: Registry;
  /** Where what commands print is kept. Default: nowhere. */
  artifacts?: ArtifactStore | undefined;
  config?: ApiConfig;
}

/** What routes work with. */
export interface RouteDeps extends ApiDeps {
  auth: AuthContext;
  waiters: DecisionWaiters;
  readiness: ReadinessProbe;
  /** Compiled policies of this process. */
  policies: PolicyCache;
  webhooks: WebhookSettings;
  policyDiffs: PolicyDiffs;
  outputNews: OutputNews;
  followers: Followers;
}
