import type { RequestHandler } from 'express';
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import { WORKLOAD_STATES } from '../contracts/terminology';
import { unsealedBacklog, type UnsealedBacklog } from '../ledger/audit-seal';
import type { Database } from '../ledger/database';
import { isDenial } from '../ledger/denials';
import { unsentBacklog } from '../ledger/outbox';
import { openWorkloadsByState } from '../ledger/queries';
import { queues, type Queue } from '../ledger/queue-depths';
import { webhookBacklog } from '../ledger/webhook-messages';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20];

/** What the API counts. */
export interface ApiMetrics {
  /** Counts each answer by route template and status, and its time. */
  requests: RequestHandler;
}

/** Registers the API's metrics. Those about the ledger are read when they are asked for, and left out while it is gone. */
export function apiMetrics(registry: Registry, db: Database): ApiMetrics {
  const answered = new Counter({
    name: 'workloadd_http_requests_total',
    help: 'Answers of the HTTP API.',
    labelNames: ['method', 'route', 'status'],
    registers: [registry],
  });
  const time = new Histogram({
    name: 'workloadd_http_request_seconds',
    help: 'Time to answer. POST /api/events without Prefer is the accept latency.',
    labelNames: ['method', 'route'],
    buckets: SECONDS,
    registers: [registry],
  });
  const denied = new Counter({
    name: 'workloadd_quota_denials_total',
    help: 'Refusals of this process for want of room, a limit or an entitlement, by problem code; in batches each event counts.',
    labelNames: ['code'],
    registers: [registry],
  });
  registerLedgerGauges(registry, db);
  registerQueueGauges(registry, db);
  return {
    requests: (request, response, next) => {
      const began = process.hrtime.bigint();
      response.once('close', () => {
        const route = (response.locals.route as string | undefined) ?? 'unknown';
        const { method } = request;
        answered.inc({ method, route, status: response.writableFinished ? response.statusCode : 'aborted' });
        const codes = [response.locals.problemCode, ...((response.locals.itemCodes as unknown[] | undefined) ?? [])];
        for (const code of codes) if (typeof code === 'string' && isDenial(code)) denied.inc({ code });
        const waited = response.locals.waited === true;
        if (!waited) time.observe({ method, route }, Number(process.hrtime.bigint() - began) / 1e9);
      });
      next();
    },
  };
}

function registerLedgerGauges(registry: Registry, db: Database): void {
  registerSealGauges(registry, db);
  new Gauge({
    name: 'workloadd_unsent_wakes',
    help: 'Committed facts that Temporal has not taken yet.',
    registers: [registry],
    async collect() {
      const backlog = await unsentBacklog(db).catch(() => null);
      this.remove();
      if (backlog) this.set(backlog.count);
    },
  });
  new Gauge({
    name: 'workloadd_webhook_backlog',
    help: 'Callbacks and messages to subscriptions that are not delivered yet.',
    registers: [registry],
    async collect() {
      const backlog = await webhookBacklog(db).catch(() => null);
      this.remove();
      if (backlog) this.set(backlog.count);
    },
  });
  new Gauge({
    name: 'workloadd_open_workloads',
    help: 'Workloads that are not closed, by state.',
    labelNames: ['state'],
    registers: [registry],
    async collect() {
      const counts = await openWorkloadsByState(db).catch(() => null);
      this.reset();
      if (!counts) return;
      for (const state of WORKLOAD_STATES) {
        const count = counts.find((row) => row.state === state)?.count;
        if (count !== undefined) this.set({ state }, count);
      }
    },
  });
}

function registerSealGauges(registry: Registry, db: Database): void {
  const gauge = (name: string, help: string, value: (backlog: UnsealedBacklog) => number): Gauge =>
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const backlog = await unsealedBacklog(db).catch(() => null);
        this.remove();
        if (backlog) this.set(value(backlog));
      },
    });
  gauge(
    'workloadd_audit_unsealed_rows',
    'Audit rows in no hash chain yet, counted up to 10,000.',
    ({ count }) => count,
  );
  gauge(
    'workloadd_audit_unsealed_age_seconds',
    'Age of the oldest audit row in no hash chain yet.',
    (backlog) => backlog.oldest_seconds,
  );
}

/** What waits for each tenant and pool; those without a line have nothing that waits. */
function registerQueueGauges(registry: Registry, db: Database): void {
  const gauge = (name: string, help: string, value: (queue: Queue) => number): Gauge =>
    new Gauge({
      name,
      help,
      labelNames: ['scope', 'id'],
      registers: [registry],
      async collect() {
        const waiting = await queues(db).catch(() => []);
        this.reset();
        for (const { scope, id, ...queue } of waiting) this.set({ scope, id }, value(queue));
      },
    });
  gauge('workloadd_queued_work', 'Units that wait to be handed over, by tenant and pool.', ({ work }) => work);
  gauge(
    'workloadd_queue_age_seconds',
    'How long the unit waits that waits longest, by tenant and pool.',
    ({ oldestSeconds }) => oldestSeconds,
  );
}
