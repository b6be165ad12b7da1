import { z } from 'zod';
import { openApiDocument } from '../openapi';
import { route, type Route } from '../route';
import { adminCredentialRoutes } from './admin-credentials';
import { adminPoolRoutes } from './admin-pools';
import { adminWorkerOrderRoutes } from './admin-worker-orders';
import { adminQuotaRoutes } from './admin-quotas';
import { adminWorkerRoutes } from './admin-workers';
import { artifactRoutes } from './artifacts';
import { auditRoutes } from './audit';
import { capabilityRoutes } from './capabilities';
import { callbackSecretRoutes } from './callback-secret';
import { eventRoutes } from './events';
import { explainRoutes } from './explain';
import { healthRoutes } from './health';
import { inboundWebhookRoutes } from './inbound-webhooks';
import { leaseRoutes } from './leases';
import { metricsRoutes } from './metrics';
import { outputRoutes } from './output';
import { policyRoutes } from './policy';
import { policyDiffRoutes } from './policy-diff';
import { replayRoutes } from './replay';
import { runnerCallbackRoutes } from './runner-callbacks';
import { sourceStateRoutes } from './source-state';
import { subscriptionRoutes } from './subscriptions';
import { whoamiRoutes } from './whoami';
import { workWriteRoutes } from './work-writes';
import { heartbeatRoute } from './worker-heartbeat';
import { workerRoutes } from './workers';
import { workloadRoutes } from './workloads';

let document: object | undefined;

const openApiRoute = route({
  method: 'get',
  path: '/openapi.json',
  operationId: 'openapi',
  tag: 'Service',
  summary: 'This document',
  access: { kind: 'none' },
  answers: { 200: { description: 'OpenAPI 3.1.', schema: z.record(z.string(), z.unknown()) } },
  handle: () => ({ status: 200, body: (document ??= openApiDocument(ROUTES)) }),
});

/** Every route there is: what is mounted and what is documented. */
export const ROUTES: readonly Route[] = [
  ...eventRoutes,
  ...workloadRoutes,
  ...artifactRoutes,
  ...capabilityRoutes,
  ...explainRoutes,
  ...replayRoutes,
  ...sourceStateRoutes,
  ...policyRoutes,
  ...subscriptionRoutes,
  ...callbackSecretRoutes,
  ...inboundWebhookRoutes,
  ...runnerCallbackRoutes,
  ...auditRoutes,
  ...policyDiffRoutes,
  heartbeatRoute,
  ...workerRoutes,
  ...leaseRoutes,
  ...outputRoutes,
  ...workWriteRoutes,
  ...adminPoolRoutes,
  ...adminWorkerRoutes,
  ...adminWorkerOrderRoutes,
  ...adminCredentialRoutes,
  ...adminQuotaRoutes,
  ...whoamiRoutes,
  ...healthRoutes,
  ...metricsRoutes,
  openApiRoute,
];
