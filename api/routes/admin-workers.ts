import { z } from 'zod';
import { externalId } from '../../contracts/ids';
import { heartbeatRecord, newWorker, workerRecord } from '../../contracts/managed-workers';
import { WORKER_STATES } from '../../contracts/terminology';
import { notingDenials } from '../../ledger/denials';
import { decodeKeys, encodeKeys } from '../../ledger/list-cursor';
import { registerWorker } from '../../ledger/register-worker';
import { trustAgain } from '../../ledger/suspect-slot';
import { getWorker, lastHeartbeat, listWorkers } from '../../ledger/worker-list';
import { ADMIN, adminOf } from '../admin-routes';
import { idempotencyHeaders, operatorReason, pageCursor, pageLimit } from '../fields';
import { maybeOnce } from '../keyed';
import { route } from '../route';

const tag = 'Workers';
const PATH = '/api/admin/workers';
const anyId = z.string().min(1).max(256);
const params = z.object({ worker_id: anyId });
const workerAnswer = z.object({ worker: workerRecord });

const listRoute = route({
  method: 'get',
  path: PATH,
  operationId: 'listWorkers',
  tag,
  summary: 'List workers, by pool and id',
  description: 'An operator sees all, a tenant’s admin those of the tenant’s own pools.',
  access: ADMIN,
  query: z.strictObject({
    pool_id: externalId.optional(),
    status: z.enum(WORKER_STATES).optional(),
    limit: pageLimit,
    cursor: pageCursor(2048),
  }),
  answers: {
    200: {
      description: 'A page.',
      schema: z.object({ workers: z.array(workerRecord), next_cursor: z.string().nullable() }),
    },
  },
  handle: async ({ deps, principal, query: { pool_id: poolId, status, limit, cursor } }) => {
    const [afterPool, afterWorker] = cursor === undefined ? [] : decodeKeys(cursor, 2);
    const after = afterPool !== undefined && { poolId: afterPool, workerId: afterWorker! };
    const workers = await listWorkers(deps.db, {
      owner: adminOf(principal).owner,
      poolId,
      status,
      limit: Number(limit) + 1,
      ...(after && { after }),
    });
    const shown = workers.slice(0, Number(limit));
    const last = workers.length > shown.length ? shown.at(-1) : undefined;
    return {
      status: 200,
      body: { workers: shown, next_cursor: last ? encodeKeys(last.pool_id, last.worker_id) : null },
    };
  },
});

const registerRoute = route({
  method: 'post',
  path: PATH,
  operationId: 'registerWorker',
  tag,
  summary: 'Register a worker',
  description:
    'It is `pending`: it has no credential and gets no work. Issue it a credential, and activate it, or let its pool’s ' +
    '`auto_activate` do so at its first heartbeat.',
  access: ADMIN,
  headers: idempotencyHeaders,
  body: { 'application/json': newWorker },
  answers: { 201: { description: 'Registered.', schema: workerAnswer } },
  problems: ['not_found', 'pool.not_active', 'worker.exists', 'capacity.pool_workers', 'idempotency.conflict'],
  handle: ({ deps, principal, headers, body }) => {
    const { tenantId } = principal;
    const fingerprint = JSON.stringify(body);
    const asked = { tenantId, route: `POST ${PATH}`, key: headers['Idempotency-Key'], fingerprint };
    return notingDenials(deps.db, { tenantId, actor: adminOf(principal).actor }, () =>
      maybeOnce(deps, asked, async (tx) => ({
        status: 201,
        body: { worker: await registerWorker(tx, body, adminOf(principal)) },
      })),
    );
  },
});

const getRoute = route({
  method: 'get',
  path: `${PATH}/{worker_id}`,
  operationId: 'getWorker',
  tag,
  summary: 'One worker',
  access: ADMIN,
  params,
  answers: { 200: { description: 'The worker.', schema: workerAnswer } },
  handle: async ({ deps, principal, params: { worker_id } }) => ({
    status: 200,
    body: { worker: await getWorker(deps.db, worker_id, adminOf(principal).owner) },
  }),
});

const heartbeatsRoute = route({
  method: 'get',
  path: `${PATH}/{worker_id}/heartbeats`,
  operationId: 'listWorkerHeartbeats',
  tag,
  summary: 'The last heartbeat of a worker',
  description: 'One entry; none before the first.',
  access: ADMIN,
  params,
  answers: { 200: { description: 'The heartbeat.', schema: z.object({ heartbeats: z.array(heartbeatRecord) }) } },
  handle: async ({ deps, principal, params: { worker_id } }) => {
    const last = await lastHeartbeat(deps.db, worker_id, adminOf(principal).owner);
    return { status: 200, body: { heartbeats: last ? [last] : [] } };
  },
});

const clearRoute = route({
  method: 'post',
  path: `${PATH}/{worker_id}/clear-suspect`,
  operationId: 'clearSuspect',
  tag,
  summary: "Close a worker's suspect slot",
  description:
    'After a lost delivery a worker gets no new one until a probe goes well. This says that its executor is fine again. ' +
    'It also gives back the slots of workloads that were cancelled after they had been handed over.',
  access: ADMIN,
  params,
  body: { 'application/json': z.strictObject({ reason: operatorReason }).meta({ id: 'ClearSuspectOrder' }) },
  answers: {
    200: {
      description: 'Done.',
      schema: z.object({ worker: workerRecord, cleared: z.boolean(), freed_slots: z.int() }),
    },
  },
  handle: async ({ deps, principal, params: { worker_id }, body: { reason } }) => {
    const { actor, owner } = adminOf(principal);
    await getWorker(deps.db, worker_id, owner);
    const { cleared, freed } = await trustAgain(deps.db, worker_id, reason, actor);
    const worker = await getWorker(deps.db, worker_id, owner);
    return { status: 200, body: { worker, cleared, freed_slots: freed } };
  },
});

/** Admins' routes about workers, but for orders and credentials. */
export const adminWorkerRoutes = [listRoute, registerRoute, getRoute, heartbeatsRoute, clearRoute];
