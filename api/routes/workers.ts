import { z } from 'zod';
import { executionHandle } from '../../contracts/execution';
import { workloadId } from '../../contracts/ids';
import { LIFECYCLE_EFFECTS, lifecycleBatch, type LifecycleResults } from '../../contracts/lifecycle';
import { Problem } from '../../contracts/problems';
import { runSpec } from '../../contracts/run';
import { EXECUTORS, WORKLOAD_STATES } from '../../contracts/terminology';
import { claimRequest, overRequest, workerSelf, type OverAnswer } from '../../contracts/worker-protocol';
import { debugPoint } from '../../domain/debug-point';
import { claim } from '../../ledger/claims';
import { runsOver } from '../../ledger/command-runs';
import { recordLifecycle } from '../../ledger/lifecycle';
import { unsentOf } from '../../ledger/outbox';
import { route } from '../route';
import { sourceEventShape } from '../shapes';

const params = z.object({ worker_id: z.string().min(1).max(256) });
const tag = 'Worker protocol';

const selfRoute = route({
  method: 'get',
  path: '/api/workers/{worker_id}',
  operationId: 'getOwnWorker',
  tag,
  summary: 'Who am I',
  access: { kind: 'worker', scope: 'heartbeat' },
  params,
  answers: { 200: { description: 'Pool and state of the worker.', schema: workerSelf } },
  handle: ({ principal }) => ({
    status: 200,
    body: {
      worker: {
        worker_id: principal.workerId,
        pool_id: principal.poolId,
        status: principal.status,
        max_open_deliveries: principal.maxOpenDeliveries,
      },
    },
  }),
});

const claimAnswer = z
  .object({
    work_id: z.string(),
    tenant_id: z.string(),
    epoch: z.int(),
    /** Secret; shown this once. */
    lease_token: z.string(),
    expires_at: z.iso.datetime(),
    ttl_ms: z.int(),
    executor: z.enum(EXECUTORS),
    delivery_number: z.int(),
    delivery_id: z.string(),
    event: sourceEventShape,
    trigger: z.object({
      prompt: z.string().nullable(),
      include: z.array(z.string()),
      response_policy: z.string().nullable(),
    }),
    /** What the delivery may ask of hooks; absent when nothing is granted. */
    capability: z
      .object({
        /** Secret; shown this once. */
        token: z.string(),
        offered: z.array(z.object({ hook: z.string(), operations: z.array(z.string()) })),
      })
      .optional(),
    /** The command to run; only for command executors. */
    run: runSpec.optional(),
    /** A runner has the job already: no intent, nothing submitted, only its end waited for. */
    resume: z.object({ target: executionHandle }).optional(),
    /** Where a runner may say that its job is done, and the secret it signs with. */
    runner_callback: z
      .object({
        path: z.string(),
        /** Secret; of this delivery. */
        secret: z.string(),
      })
      .optional(),
    /** Events that this work covers beside its own; the newest ids first. */
    absorbed: z.object({ count: z.int(), event_ids: z.array(z.string()) }).optional(),
  })
  .meta({ id: 'Claim' });

const claimRoute = route({
  method: 'post',
  path: '/api/workers/{worker_id}/claims',
  operationId: 'claimWork',
  tag,
  summary: 'Claim the right to act for a workload',
  description: 'One transaction: eligibility, capacity, deadline, then a new epoch and a new lease token.',
  access: { kind: 'worker', scope: 'work.claim' },
  params,
  body: { 'application/json': claimRequest },
  answers: { 201: { description: 'The lease.', schema: claimAnswer } },
  problems: [
    'worker.pending',
    'worker.draining',
    'worker.paused',
    'worker.unhealthy',
    'worker.wrong_pool',
    'worker.wrong_tenant',
    'worker.incompatible',
    'pool.not_active',
    'lease.held',
    'workload.not_needed',
    'delivery.maybe_written',
    'capacity.worker',
    'capacity.suspect',
    'capacity.pool',
  ],
  handle: async ({ deps, principal, body }) => {
    if (!workloadId.safeParse(body.work_id).success) throw new Problem('not_found', 'No such workload.');
    const lease = await claim(deps.db, principal, body.work_id, {
      executorRestarted: body.executor_restarted ?? false,
      claimKey: body.claim_key,
      commandTtlMs: deps.config?.commandLeaseMs,
      signingKey: deps.webhooks.signingKey,
    });
    debugPoint('claim-committed');
    return { status: 201, body: lease };
  },
});

const lifecycleRoute = route({
  method: 'post',
  path: '/api/workers/{worker_id}/lifecycle',
  operationId: 'postLifecycle',
  tag,
  summary: 'Report what an executor said, in the order received',
  description:
    'Evidence, not a fenced write: it is recorded also for closed leases and unknown deliveries; `effect` says what it changed. ' +
    'A batch may be sent again: what the ledger has is `duplicate`.',
  access: { kind: 'worker', scope: 'work.write' },
  params,
  body: { 'application/json': lifecycleBatch },
  answers: {
    200: {
      description: 'One result per record.',
      schema: z.object({
        results: z.array(z.object({ effect: z.enum(LIFECYCLE_EFFECTS), state: z.enum(WORKLOAD_STATES).optional() })),
      }),
    },
  },
  handle: async ({ deps, principal, body }) => {
    const results: LifecycleResults['results'] = [];
    for (const record of body.records) {
      const { effect, wake, state } = await recordLifecycle(deps.db, principal, record);
      debugPoint('lifecycle-committed');
      if (wake) deps.wakes.send(unsentOf(wake));
      results.push({ effect, ...(state && { state }) });
    }
    return { status: 200, body: { results } };
  },
});

const overRoute = route({
  method: 'post',
  path: '/api/workers/{worker_id}/deliveries/over',
  operationId: 'askWhatIsOver',
  tag,
  summary: 'Which of these runs does nobody wait for any more?',
  description: 'For removing what a worker that died has left. Keys that no delivery can have are not judged.',
  access: { kind: 'worker', scope: 'work.claim' },
  params,
  body: { 'application/json': overRequest },
  answers: { 200: { description: 'Those that are over.', schema: z.object({ over: z.array(z.string()) }) } },
  handle: async ({ deps, body }) => ({
    status: 200,
    body: { over: await runsOver(deps.db, body.run_keys) } satisfies OverAnswer,
  }),
});

/** The worker protocol but for leases. */
export const workerRoutes = [selfRoute, claimRoute, lifecycleRoute, overRoute];
