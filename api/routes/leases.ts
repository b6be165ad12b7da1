import { z } from 'zod';
import { workloadId } from '../../contracts/ids';
import { WORKLOAD_STATES } from '../../contracts/terminology';
import type { ExecutionHandle } from '../../contracts/execution';
import {
  completeRequest,
  failRequest,
  finishRequest,
  intentRequest,
  releaseRequest,
  renewRequest,
} from '../../contracts/worker-protocol';
import type { FinishRequest, LeaseOutcome } from '../../contracts/worker-protocol';
import { debugPoint } from '../../domain/debug-point';
import { failLease, recordIntent, releaseLease, reportWrite } from '../../ledger/deliveries';
import type { FencedWrite } from '../../ledger/fenced-write';
import { finishCommand } from '../../ledger/finish-command';
import { unsentOf } from '../../ledger/outbox';
import { renewLease } from '../../ledger/renew-lease';
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

/** An envelope quotes the whole command three times, and JSON may spell a byte of it in seven. */
const MAX_FINISH_BYTES = 3 * 1024 * 1024;

/** Where the workload of a lease stands. */
export const outcomeAnswer = z
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
  problems: [
    'lease.token_required',
    'lease.stale',
    'workload.not_needed',
    'delivery.maybe_written',
    'worker.paused',
    'worker.pending',
  ],
  handle: async (request) => {
    const { db, config } = request.deps;
    const granted = await recordIntent(db, writeOf(request), request.body.intent_key, config?.commandLeaseMs);
    debugPoint('intent-committed');
    return { status: 200, body: granted };
  },
});

const renewRoute = route({
  method: 'post',
  path: '/api/workers/{worker_id}/leases/{work_id}/renew',
  operationId: 'renewLease',
  tag,
  summary: 'The command is under way',
  description:
    'Sent every third of the lease’s life. `lease.stale`: the lease is over or the workload was cancelled; end the command.',
  access: { kind: 'worker', scope: 'work.renew' },
  params: leaseParams,
  headers: leaseHeaders,
  body: { 'application/json': renewRequest },
  answers: {
    200: {
      description: 'The lease lives on.',
      schema: z
        .object({
          state: z.enum(WORKLOAD_STATES),
          expires_at: z.iso.datetime(),
          ttl_ms: z.number(),
          /** The runner has called: ask it now. */
          runner_done: z.literal(true).optional(),
        })
        .meta({ id: 'LeaseRenewed' }),
    },
  },
  problems: ['lease.token_required', 'lease.stale', 'workload.state_conflict', 'worker.paused', 'worker.pending'],
  handle: async (request) => {
    const { db, config, wakes } = request.deps;
    const renewal = { running: request.body.running, target: request.body.target as ExecutionHandle | undefined };
    const { answer, wake } = await renewLease(db, writeOf(request), renewal, config?.commandLeaseMs);
    debugPoint('renewal-committed');
    if (wake) wakes.send(unsentOf(wake));
    return { status: 200, body: answer };
  },
});

/** The lease routes that answer where the workload stands. */
const reportRoute = <Body extends z.ZodObject>(
  action: 'complete' | 'release' | 'fail' | 'finish',
  summary: string,
  body: Body,
  report: (deps: RouteDeps, write: FencedWrite, body: z.output<Body>) => Promise<LeaseOutcome>,
  maxBodyBytes?: number,
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
    ...(maxBodyBytes !== undefined && { maxBodyBytes }),
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
  renewRoute,
  reportRoute(
    'finish',
    'The command has ended, or was not run',
    finishRequest,
    async ({ db }, write, body) => {
      const outcome = await finishCommand(db, write, body as FinishRequest);
      debugPoint('finish-committed');
      return outcome;
    },
    MAX_FINISH_BYTES,
  ),
];
