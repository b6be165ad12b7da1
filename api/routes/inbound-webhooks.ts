import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { PostedEvent } from '../../contracts/events';
import { sourceEvent } from '../../contracts/events';
import { externalId } from '../../contracts/ids';
import { Problem } from '../../contracts/problems';
import { secretsInForce, webhookSecret } from '../../domain/webhooks/secrets';
import { acceptEvent, type Accepted } from '../../ledger/accept';
import { notingDenials } from '../../ledger/denials';
import { onceForKey } from '../../ledger/idempotency';
import { closeEndpoint, endpointOf, openEndpoint, type WebhookEndpoint } from '../../ledger/webhook-endpoints';
import { acceptedAnswer, answerOf, wakeFor } from '../accepted';
import type { RouteDeps } from '../app-deps';
import { readBytes } from '../body';
import { cloudEvent } from '../cloud-events';
import { CLOUD_EVENT, readEvents } from '../event-request';
import { route, type RouteAnswer } from '../route';
import { isSignedRequest } from '../signed-request';
import { checkCallback, signingKeyOf } from '../webhook-settings';

const params = z.object({ source: externalId });

const openRoute = route({
  method: 'put',
  path: '/api/sources/{source}/webhook',
  operationId: 'openWebhook',
  tag: 'Webhooks',
  summary: 'Let a source post events that it signs, without a token',
  description:
    'The first time an endpoint is made; after that it keeps its address and gets another secret, and what is signed with the one before ' +
    'is taken for 24 hours more. Events of the endpoint are of this source whatever they say.',
  access: { kind: 'token', scopes: ['sources:write'] },
  params,
  answers: {
    200: {
      description: 'The address, and the secret in the form of Standard Webhooks. It is shown only here.',
      schema: z.object({ endpoint: z.string(), secret: z.string(), version: z.int() }).meta({ id: 'WebhookEndpoint' }),
    },
  },
  problems: ['webhook.not_configured'],
  handle: async ({ deps, principal: { tenantId, tokenId }, params: { source } }) => {
    const key = signingKeyOf(deps.webhooks);
    const { endpoint } = await openEndpoint(deps.db, tenantId, source, `token:${tokenId}`);
    const { endpoint_id: id, secret_version: version } = endpoint;
    return {
      status: 200,
      body: { endpoint: `/api/webhooks/${id}`, secret: secretOf(key, endpoint).reveal(), version },
    };
  },
});

const secretKey = (endpoint: WebhookEndpoint) =>
  ({
    kind: 'endpoint',
    tenantId: endpoint.tenant_id,
    id: endpoint.endpoint_id,
    version: endpoint.secret_version,
  }) as const;
const secretOf = (key: Parameters<typeof webhookSecret>[0], endpoint: WebhookEndpoint) =>
  webhookSecret(key, secretKey(endpoint));

const closeRoute = route({
  method: 'delete',
  path: '/api/sources/{source}/webhook',
  operationId: 'closeWebhook',
  tag: 'Webhooks',
  summary: 'Close the endpoint of a source',
  access: { kind: 'token', scopes: ['sources:write'] },
  params,
  answers: { 200: { description: 'Closed.', schema: z.object({ source: z.string(), closed: z.literal(true) }) } },
  handle: async ({ deps, principal: { tenantId, tokenId }, params: { source } }) => {
    if (!(await closeEndpoint(deps.db, tenantId, source, `token:${tokenId}`))) {
      throw new Problem('not_found', 'The source has no endpoint.');
    }
    return { status: 200, body: { source, closed: true } };
  },
});

const receiveRoute = route({
  method: 'post',
  path: '/api/webhooks/{endpoint_id}',
  operationId: 'receiveWebhook',
  tag: 'Webhooks',
  summary: 'Post an event that is signed instead of a token',
  description:
    'Signed by Standard Webhooks with the secret of the endpoint, at most 5 minutes ago. The body is an event as `POST /api/events` takes ' +
    'it, as our JSON (`source` may be left out) or as a CloudEvent in structured mode. The same `webhook-id` again gets the ' +
    'first answer.',
  access: { kind: 'none' },
  params: z.object({ endpoint_id: z.string().max(64) }),
  ownBody: { 'application/json': sourceEvent.partial({ source: true }), [CLOUD_EVENT]: cloudEvent },
  answers: { 202: { description: 'Accepted.', schema: acceptedAnswer } },
  problems: [
    'webhook.signature_invalid',
    'auth.backoff',
    'event.conflict',
    'quota.exceeded',
    'entitlement.lapsed',
    'idempotency.conflict',
    'callback.forbidden_host',
    'callback.limit',
    'ledger.unavailable',
  ],
  handle: async ({ deps, params: { endpoint_id }, raw, response }) => {
    const bytes = await readBytes(raw, response);
    const endpoint = await signedEndpoint(deps, endpoint_id, raw.headers, bytes, raw.ip ?? '');
    response.locals.actor = `webhook:${endpoint.endpoint_id}`;
    if (Object.keys(raw.headers).some((name) => name.startsWith('ce-'))) {
      throw new Problem('request.unsupported_media_type', 'No binary mode here: the signature does not cover headers.');
    }
    const { events, isBatch } = readEvents(raw, bytes, endpoint.source);
    const [event] = events;
    if (isBatch || !event) throw new Problem('request.unsupported_media_type', 'One event at a time here, no batch.');
    checkCallback(deps.webhooks, event);
    return accept(deps, endpoint, event, String(raw.headers['webhook-id']), bytes);
  },
});

/** Compared with where there is no endpoint, so that a known id takes no longer than an unknown one. */
const NOBODY: WebhookEndpoint = {
  endpoint_id: '',
  tenant_id: '',
  source: '',
  secret_version: 1,
  rotated_at: null,
  now: new Date(0),
};

/** The endpoint a request is signed for; else `webhook.signature_invalid`, whatever is wrong, and `auth.backoff` after many. */
async function signedEndpoint(
  { db, auth, webhooks }: RouteDeps,
  endpointId: string,
  headers: Record<string, string | string[] | undefined>,
  bytes: Buffer,
  address: string,
): Promise<WebhookEndpoint> {
  const known = webhooks.signingKey ? await endpointOf(db, endpointId) : null;
  const endpoint = known ?? NOBODY;
  if (webhooks.signingKey) {
    const secrets = secretsInForce(webhooks.signingKey(), secretKey(endpoint), endpoint.rotated_at, endpoint.now);
    if (isSignedRequest(secrets, headers, bytes) && known) return known;
  }
  auth.backoff.check(address, endpointId);
  auth.backoff.failed(address, endpointId);
  throw new Problem(
    'webhook.signature_invalid',
    'There is no such endpoint, or this is not signed with its secret within the last 5 minutes.',
  );
}

/** Event and the memory of its `webhook-id` are one transaction; the wake after its commit. */
async function accept(
  deps: RouteDeps,
  endpoint: WebhookEndpoint,
  event: PostedEvent,
  webhookId: string,
  bytes: Buffer,
): Promise<RouteAnswer> {
  const { tenant_id: tenantId, endpoint_id: id } = endpoint;
  const request = {
    tenantId,
    route: `POST /api/webhooks/${id}`,
    key: webhookId,
    fingerprint: createHash('sha256').update(bytes).digest('hex'),
  };
  let accepted: Accepted | null = null;
  const actor = `webhook:${id}`;
  const { status, answer, replayed } = await notingDenials(deps.db, { tenantId, actor }, () =>
    onceForKey(deps.db, request, async (tx) => {
      accepted = await acceptEvent(tx, tenantId, event, actor);
      return { status: 202, answer: JSON.stringify(answerOf(accepted)) };
    }),
  );
  if (accepted && !replayed) wakeFor(deps, { tenantId }, event, accepted);
  return { status, body: answer, ...(replayed && { headers: { 'Idempotent-Replayed': 'true' } }) };
}

/** Routes of signed events. */
export const inboundWebhookRoutes = [openRoute, closeRoute, receiveRoute];
