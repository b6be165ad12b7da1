import { z } from 'zod';
import { workloadId } from '../../contracts/ids';
import { WORKLOAD_STATES } from '../../contracts/terminology';
import { completeRequest, failRequest, intentRequest, releaseRequest } from '../../contracts/worker-protocol';
import type { LeaseOutcome } from '../../contracts/worker-protocol';
import { debugPoint } from '../../domain/debug-point';
import { failLease, recordIntent, releaseLease, reportWrite, type FencedWrite } from '../../ledger/deliveries';
import type { WorkerPrincipal } from '../../ledger/workers';
import type { RouteDeps } from '../app-deps';
import { route } from '../route';

/** What every lease route takes. */
export const leaseParams = z.object({ worker_id: z.string().min(1).max(256), work_id: workloadId });
export const leaseHeaders = z.object({
  'Lease-Token': z.string().min(1).max(128).meta({ description: 'The token of the claim.' }),
});
const tag = 'Worker protocol';
export const leaseAccess = { kind: 'worker', scope: 'work.write' } as const;

const outcomeAnswer = z
  .object({
    state: z.enum(WORKLOAD_STATES),
    /** Milliseconds until the workload's next deadline. */
    wait_ms: z.number().nullable(),
  })
  .meta({ id: 'LeaseOutcome' });

interface LeaseRequest {
  principal: WorkerPrincipal;
  params: z.infer<typeof leaseParams>;
  headers: z.infer<typeof leaseHeaders>;
}

/** The write that a request under a lease is. */
export const writeOf = ({ principal, params: { work_id }, headers: given }: LeaseRequest): FencedWrite => ({
  principal,
  workId: work_id,
  leaseToken: given['Lease-Token'],
});

const intentRoute = route({
  method: 'post',
  path: '/api/workers/{worker_id}/leases/{work_id}/intent',
  operationId: 'recordIntent',
  tag,
  summary: 'I am about to hand it over',
  description: 'Allocates the delivery number. Answered once per `intent_key`; the same key gets the same answer.',
  access: leaseAccess,
  params: leaseParams,
  headers: leaseHeaders,
  body: { 'application/json': intentRequest },
  answers: {
    200: {
      description: 'Recorded: hand it over now, once.',
      schema: z.object({ delivery_number: z.int(), delivery_id: z.string(), expires_at: z.iso.datetime() }),
    },
  },
  problems: ['lease.token_required', 'lease.stale', 'workload.not_needed', 'delivery.maybe_written'],
  handle: async (request) => {
    const granted = await recordIntent(request.deps.db, writeOf(request), request.body.intent_key);
    debugPoint('intent-committed');
    return { status: 200, body: granted };
  },
});

/** The lease routes that answer where the workload stands. */
const reportRoute = <Body extends z.ZodObject>(
  action: 'complete' | 'release' | 'fail',
  summary: string,
  body: Body,
  report: (deps: RouteDeps, write: FencedWrite, body: z.output<Body>) => Promise<LeaseOutcome>,
) =>
  route({
    method: 'post',
    path: `/api/workers/{worker_id}/leases/{work_id}/${action}`,
    operationId: `${action}Lease`,
    tag,
    summary,
    access: leaseAccess,
    params: leaseParams,
    headers: leaseHeaders,
    body: { 'application/json': body },
    answers: { 200: { description: 'Where the workload stands now.', schema: outcomeAnswer } },
    problems: ['lease.token_required', 'lease.stale', 'workload.state_conflict'],
    handle: async (request) => ({
      status: 200,
      body: await report(request.deps, writeOf(request), request.body as z.output<Body>),
    }),
  });

/** The routes that need a lease. */
export const leaseRoutes = [
  intentRoute,
  reportRoute('complete', 'What became of the write', completeRequest, ({ db }, write, body) =>
    reportWrite(db, write, body),
  ),
  reportRoute('release', 'Nothing was handed over, proven', releaseRequest, ({ db }, write, { reason }) =>
    releaseLease(db, write, reason),
  ),
  reportRoute('fail', 'This workload cannot be handed over', failRequest, ({ db }, write, body) =>
    failLease(db, write, body),
  ),
];
