import { z } from 'zod';
import { newSubscription, subscriptionRecord } from '../../contracts/webhooks';
import { webhookSecret } from '../../domain/webhooks/secrets';
import {
  listSubscriptions,
  rotateSubscription,
  subscribe,
  subscriptionOf,
  unsubscribe,
  type Subscription,
} from '../../ledger/subscriptions';
import type { RouteDeps } from '../app-deps';
import { route } from '../route';
import { checkTarget, signingKeyOf } from '../webhook-settings';

const params = z.object({ subscription_id: z.string().regex(/^sub_[0-9a-f]{16}$/) });

const withSecret = z
  .object({ subscription: subscriptionRecord, secret: z.string() })
  .meta({ id: 'SubscriptionWithSecret' });

function answerOf({ webhooks }: RouteDeps, tenantId: string, { record, secretVersion }: Subscription) {
  const of = { kind: 'subscription', tenantId, id: record.subscription_id, version: secretVersion } as const;
  return { subscription: record, secret: webhookSecret(signingKeyOf(webhooks), of).reveal() };
}

const createRoute = route({
  method: 'post',
  path: '/api/subscriptions',
  operationId: 'createSubscription',
  tag: 'Webhooks',
  summary: 'Be told of workloads at a URL',
  description:
    'Each time a workload comes to one of the states, a signed message is posted to the URL. The same URL with the same filters is the ' +
    'same subscription (200), so it may be posted again. Only here and by `rotate-secret` the secret is given.',
  access: { kind: 'token', scopes: ['workloads:write'] },
  body: { 'application/json': newSubscription },
  answers: {
    200: { description: 'There was such a subscription; if it was disabled it is enabled again.', schema: withSecret },
    201: { description: 'Created.', schema: withSecret },
  },
  problems: ['callback.forbidden_host', 'subscription.limit', 'webhook.not_configured'],
  handle: async ({ deps, principal, body }) => {
    checkTarget(deps.webhooks, body.url, '/url');
    const made = await subscribe(deps.db, principal.tenantId, body, `token:${principal.tokenId}`);
    return { status: made.created ? 201 : 200, body: answerOf(deps, principal.tenantId, made) };
  },
});

const listRoute = route({
  method: 'get',
  path: '/api/subscriptions',
  operationId: 'listSubscriptions',
  tag: 'Webhooks',
  summary: 'All subscriptions of the tenant, oldest first',
  description:
    'At most 100. Of a URL the query is left out; `url_hash` (SHA-256, hex) tells its owner that this is it.',
  access: { kind: 'token', scopes: ['workloads:read', 'workloads:write'] },
  answers: { 200: { description: 'All of them.', schema: z.object({ subscriptions: z.array(subscriptionRecord) }) } },
  handle: async ({ deps, principal }) => {
    const subscriptions = await listSubscriptions(deps.db, principal.tenantId);
    return { status: 200, body: { subscriptions: subscriptions.map(({ record }) => record) } };
  },
});

const getRoute = route({
  method: 'get',
  path: '/api/subscriptions/{subscription_id}',
  operationId: 'getSubscription',
  tag: 'Webhooks',
  summary: 'One subscription',
  access: { kind: 'token', scopes: ['workloads:read', 'workloads:write'] },
  params,
  answers: { 200: { description: 'The subscription.', schema: z.object({ subscription: subscriptionRecord }) } },
  handle: async ({ deps, principal, params: { subscription_id } }) => {
    const { record } = await subscriptionOf(deps.db, principal.tenantId, subscription_id);
    return { status: 200, body: { subscription: record } };
  },
});

const rotateRoute = route({
  method: 'post',
  path: '/api/subscriptions/{subscription_id}/rotate-secret',
  operationId: 'rotateSubscriptionSecret',
  tag: 'Webhooks',
  summary: 'Take another secret for a subscription',
  description: 'For 24 hours messages are signed with the secret before too.',
  access: { kind: 'token', scopes: ['workloads:write'] },
  params,
  answers: { 200: { description: 'Rotated.', schema: withSecret } },
  problems: ['webhook.not_configured'],
  handle: async ({ deps, principal: { tenantId, tokenId }, params: { subscription_id } }) => {
    signingKeyOf(deps.webhooks);
    const rotated = await rotateSubscription(deps.db, tenantId, subscription_id, `token:${tokenId}`);
    return { status: 200, body: answerOf(deps, tenantId, rotated) };
  },
});

const deleteRoute = route({
  method: 'delete',
  path: '/api/subscriptions/{subscription_id}',
  operationId: 'deleteSubscription',
  tag: 'Webhooks',
  summary: 'End a subscription',
  description: 'What was not delivered yet is withdrawn.',
  access: { kind: 'token', scopes: ['workloads:write'] },
  params,
  answers: {
    200: {
      description: 'Deleted.',
      schema: z.object({ subscription_id: z.string(), deleted: z.literal(true) }),
    },
  },
  handle: async ({ deps, principal: { tenantId, tokenId }, params: { subscription_id } }) => {
    await unsubscribe(deps.db, tenantId, subscription_id, `token:${tokenId}`);
    return { status: 200, body: { subscription_id, deleted: true } };
  },
});

/** Routes of subscriptions. */
export const subscriptionRoutes = [createRoute, listRoute, getRoute, rotateRoute, deleteRoute];
