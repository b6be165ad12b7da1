import { z } from 'zod';
import { HEARTBEAT_EVERY_MS, heartbeatAnswer, heartbeatRequest } from '../../contracts/worker-protocol';
import { noteExecutorRestart } from '../../ledger/executor-restart';
import { heartbeat } from '../../ledger/worker-heartbeat';
import { route } from '../route';

const params = z.object({ worker_id: z.string().min(1).max(256) });
const tag = 'Worker protocol';

/** `POST heartbeat`. */
export const heartbeatRoute = route({
  method: 'post',
  path: '/api/workers/{worker_id}/heartbeat',
  operationId: 'postHeartbeat',
  tag,
  summary: 'I am alive',
  description:
    'Answers what the worker is to do. A worker that is silent becomes `unhealthy`; a pending one of a pool that activates its ' +
    'workers becomes active.',
  access: { kind: 'worker', scope: 'heartbeat' },
  params,
  body: { 'application/json': heartbeatRequest },
  answers: { 200: { description: 'The state the worker is in, and what it is to do.', schema: heartbeatAnswer } },
  problems: ['heartbeat.out_of_order', 'worker.version_incompatible'],
  handle: async ({ deps, principal, body }) => {
    const { workerId, poolId } = principal;
    const standing = await heartbeat(deps.db, principal, body);
    // After it, since one that is out of order changes nothing.
    if (body.executor_restarted) await deps.db.transaction((tx) => noteExecutorRestart(tx, principal.workerId));
    const everyMs = deps.config?.heartbeatMs ?? HEARTBEAT_EVERY_MS;
    return {
      status: 200,
      body: { worker: { worker_id: workerId, pool_id: poolId, ...standing, heartbeat_every_ms: everyMs } },
    };
  },
});
