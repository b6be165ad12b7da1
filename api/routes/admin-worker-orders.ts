import { z } from 'zod';
import { workerRecord } from '../../contracts/managed-workers';
import { WORKER_ORDERS, type WorkerOrder } from '../../domain/worker-moves';
import { getWorker } from '../../ledger/worker-list';
import { orderWorker } from '../../ledger/worker-orders';
import { ADMIN, adminOf } from '../admin-routes';
import { operatorReason } from '../fields';
import { route } from '../route';

const reason = operatorReason.optional();
const plain = z.strictObject({ reason }).meta({ id: 'WorkerOrder' });
const forced = z
  .strictObject({
    reason,
    /** Also while it holds live leases, which are left to run out. Default false. */
    force: z.boolean().optional(),
  })
  .meta({ id: 'RetireOrder' });

const ABOUT: Record<WorkerOrder, [summary: string, description: string]> = {
  activate: ['Let a worker work', 'From `pending`, `draining`, `paused` or `unhealthy`.'],
  pause: [
    'Pause a worker',
    'From `active`. It takes nothing new and renews nothing; it may write until the lease that it holds runs out.',
  ],
  resume: ['Let a worker work again', 'As `activate`, but not from `pending`.'],
  drain: [
    'Drain a worker',
    'From `active` or `unhealthy`. It takes nothing new, finishes what it holds, and its process exits with 0.',
  ],
  retire: [
    'Retire a worker for good',
    'From any state but `pending` and `revoked`. Its credentials open nothing any more. While it holds live leases it is refused, unless forced.',
  ],
  revoke: [
    'Shut a worker out for good',
    'From any state but `retired`. From its next request on it is refused, whatever it holds; its leases run out, and others take over.',
  ],
};

const orderRoute = (order: WorkerOrder) =>
  route({
    method: 'post',
    path: `/api/admin/workers/{worker_id}/${order}`,
    operationId: `${order}Worker`,
    tag: 'Workers',
    summary: ABOUT[order][0],
    description: `${ABOUT[order][1]} A worker that is there already stays as it is, and the audit is told nothing.`,
    access: ADMIN,
    params: z.object({ worker_id: z.string().min(1).max(256) }),
    body: { 'application/json': order === 'retire' ? forced : plain },
    bodyIsOptional: true,
    answers: { 200: { description: 'The worker as it is now.', schema: z.object({ worker: workerRecord }) } },
    problems: ['worker.state_conflict', ...(order === 'retire' ? (['worker.holds_leases'] as const) : [])],
    handle: async ({ deps, principal, params: { worker_id }, body }) => {
      const worker = await deps.db.transaction(async (tx) => {
        await orderWorker(tx, worker_id, order, { ...adminOf(principal), ...body });
        return getWorker(tx, worker_id);
      });
      return { status: 200, body: { worker } };
    },
  });

/** The six orders to workers. */
export const adminWorkerOrderRoutes = WORKER_ORDERS.map(orderRoute);
