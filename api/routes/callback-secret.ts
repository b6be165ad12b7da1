import { z } from 'zod';
import { webhookSecret } from '../../domain/webhooks/secrets';
import { callbackSecretVersion, rotateCallbackSecret } from '../../ledger/callback-secrets';
import type { RouteDeps } from '../app-deps';
import { route } from '../route';
import { signingKeyOf } from '../webhook-settings';

const secretAnswer = z.object({ secret: z.string(), version: z.int() }).meta({ id: 'CallbackSecret' });

const answerOf = ({ webhooks }: RouteDeps, tenantId: string, version: number): z.infer<typeof secretAnswer> => ({
  secret: webhookSecret(signingKeyOf(webhooks), { kind: 'callback', tenantId, id: tenantId, version }).reveal(),
  version,
});

const getRoute = route({
  method: 'get',
  path: '/api/callbacks/secret',
  operationId: 'getCallbackSecret',
  tag: 'Webhooks',
  summary: 'The secret that signs the callbacks of the tenant',
  access: { kind: 'token', scopes: ['admin'] },
  answers: { 200: { description: 'The secret, in the form of Standard Webhooks.', schema: secretAnswer } },
  problems: ['webhook.not_configured'],
  handle: async ({ deps, principal: { tenantId } }) => ({
    status: 200,
    body: answerOf(deps, tenantId, await callbackSecretVersion(deps.db, tenantId)),
  }),
});

const rotateRoute = route({
  method: 'post',
  path: '/api/callbacks/secret/rotate',
  operationId: 'rotateCallbackSecret',
  tag: 'Webhooks',
  summary: 'Take another secret for the callbacks of the tenant',
  description: 'For 24 hours callbacks are signed with the secret before too.',
  access: { kind: 'token', scopes: ['admin'] },
  answers: { 200: { description: 'The new secret.', schema: secretAnswer } },
  problems: ['webhook.not_configured'],
  handle: async ({ deps, principal: { tenantId, tokenId } }) => {
    signingKeyOf(deps.webhooks);
    const version = await rotateCallbackSecret(deps.db, tenantId, `token:${tokenId}`);
    return { status: 200, body: answerOf(deps, tenantId, version) };
  },
});

/** Routes of the secret of callbacks. */
export const callbackSecretRoutes = [getRoute, rotateRoute];
