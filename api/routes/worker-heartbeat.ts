import { z } from 'zod';
import { heartbeatRequest, workerSelf } from '../../contracts/worker-protocol';
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
  access: { kind: 'worker', scope: 'heartbeat' },
  params,
  body: { 'application/json': heartbeatRequest },
  answers: { 200: { description: 'The state the worker should be in.', schema: workerSelf } },
  handle: async ({ deps, principal, body }) => {
    if (body.executor_restarted) await deps.db.transaction((tx) => noteExecutorRestart(tx, principal.workerId));
    const standing = await heartbeat(deps.db, principal.workerId, {
      version: body.version,
      currentLoad: body.current_load,
      lastErrorCode: body.last_error_code,
      executors: body.executors,
    });
    return {
      status: 200,
      body: { worker: { worker_id: principal.workerId, pool_id: principal.poolId, ...standing } },
    };
  },
});
