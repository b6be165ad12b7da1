import { z } from 'zod';
import { authorizeAnswer, authorizeRequest, capabilitiesRecord } from '../../contracts/capabilities';
import type { AuthorizeAnswer, CapabilityRefusal } from '../../contracts/capabilities';
import { workloadId } from '../../contracts/ids';
import { deliveryIdOf } from '../../contracts/names';
import { Problem } from '../../contracts/problems';
import { authorizeCapability } from '../../ledger/capability-authorize';
import { revokeCapabilities } from '../../ledger/capability-record';
import { idempotencyHeaders, operatorReason } from '../fields';
import { maybeOnce } from '../keyed';
import { route } from '../route';

const tag = 'Capabilities';
const REPLAYED = { 'Idempotent-Replayed': 'true' };

const authorizeRoute = route({
  method: 'post',
  path: '/api/capabilities/authorize',
  operationId: 'authorizeCapability',
  tag,
  summary: 'May the agent with this token do this now?',
  description:
    'Asked by a context or mutation hook before it answers. Allowed is counted; the attempt is recorded in any case. Refused is 403 ' +
    '`capability.denied` with `allowed: false` and a `reason`.',
  access: { kind: 'token', scopes: ['capabilities:authorize'] },
  body: { 'application/json': authorizeRequest },
  answers: { 200: { description: 'Allowed, and counted.', schema: authorizeAnswer } },
  problems: ['capability.denied', 'idempotency.conflict'],
  handle: async ({ deps, principal, body }) => {
    const asking = { tenantId: principal.tenantId, actor: `token:${principal.tokenId}` };
    const answer = await authorizeCapability(deps.db, asking, body);
    if (!answer.allowed) throw refusal(answer.reason);
    const allowed: AuthorizeAnswer = {
      allowed: true,
      workload_id: answer.workload_id,
      delivery_id: deliveryIdOf(answer.workload_id, answer.delivery),
      use: answer.use,
      remaining: answer.remaining,
      expires_at: new Date(answer.expires_at).toISOString(),
    };
    return { status: 200, body: allowed, ...(answer.repeated && { headers: REPLAYED }) };
  },
});

const DENIED: Record<CapabilityRefusal, string> = {
  unknown: 'There is no such token here: forged, cut, or replaced by a later claim.',
  wrong_delivery: 'The work was handed over once more since; the token is of an earlier delivery.',
  closed: 'The delivery has ended, or its capabilities were revoked.',
  suspended: 'The work is preempted; the token holds again when it goes on.',
  operation_not_granted: 'No grant of this kind (context or mutation) names this hook with this operation.',
  resource_not_granted: 'No grant of this operation opens this resource.',
  expired: 'The time of the grant is over.',
  exhausted: 'All uses of the grant are spent.',
};

function refusal(reason: CapabilityRefusal | 'idempotency_conflict'): Problem {
  if (reason === 'idempotency_conflict') {
    return new Problem('idempotency.conflict', 'This idempotency_key was used for another request.', {
      errors: [{ pointer: '/idempotency_key', detail: 'belongs to another request' }],
    });
  }
  return new Problem('capability.denied', DENIED[reason], {
    extra: { allowed: false, reason },
  });
}

const revokeRoute = route({
  method: 'post',
  path: '/api/workloads/{workload_id}/capabilities/revoke',
  operationId: 'revokeCapabilities',
  tag,
  summary: "Close a workload's capabilities for good",
  description:
    'The token in force holds no more, and no later delivery gets one. The work itself goes on. Doing it twice changes nothing.',
  access: { kind: 'token', scopes: ['workloads:write'] },
  params: z.object({ workload_id: workloadId }),
  headers: idempotencyHeaders,
  body: { 'application/json': z.strictObject({ reason: operatorReason }).meta({ id: 'RevocationOrder' }) },
  answers: { 200: { description: 'Revoked; how the capabilities stand now.', schema: capabilitiesRecord } },
  problems: ['idempotency.conflict'],
  handle: async ({ deps, principal, params, headers, body: { reason } }) => {
    const { tenantId, tokenId } = principal;
    const order = { tenantId, workloadId: params.workload_id, actor: `token:${tokenId}`, reason };
    const key = headers['Idempotency-Key'];
    const route = 'POST /api/workloads/{workload_id}/capabilities/revoke';
    const request = { tenantId, route, key, fingerprint: JSON.stringify([params.workload_id, reason]) };
    return maybeOnce(deps, request, async (tx) => ({ status: 200, body: await revokeCapabilities(tx, order) }));
  },
});

/** Routes of capabilities. */
export const capabilityRoutes = [authorizeRoute, revokeRoute];
