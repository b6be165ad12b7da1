import { z } from 'zod';
import { POOL_STATES } from '../../contracts/terminology';
import { newPool, poolRecord, poolSummary, poolUpdate } from '../../contracts/worker-pools';
import { decodeKeys, encodeKeys } from '../../ledger/list-cursor';
import { createPool, listPools, updatePool } from '../../ledger/pools';
import { ADMIN, adminOf } from '../admin-routes';
import { idempotencyHeaders, pageCursor, pageLimit } from '../fields';
import { maybeOnce } from '../keyed';
import { route } from '../route';

const tag = 'Worker pools';
const PATH = '/api/admin/worker-pools';
const params = z.object({ pool_id: z.string().min(1).max(256) });
const poolAnswer = z.object({ pool: poolRecord });

const listRoute = route({
  method: 'get',
  path: PATH,
  operationId: 'listWorkerPools',
  tag,
  summary: 'List pools, by id',
  description:
    'An operator sees all. A tenant’s admin sees the tenant’s own, and summaries of operators’ pools that serve it.',
  access: ADMIN,
  query: z.strictObject({ status: z.enum(POOL_STATES).optional(), limit: pageLimit, cursor: pageCursor(1024) }),
  answers: {
    200: {
      description: 'A page.',
      schema: z.object({ pools: z.array(z.union([poolRecord, poolSummary])), next_cursor: z.string().nullable() }),
    },
  },
  handle: async ({ deps, principal, query: { status, limit, cursor } }) => {
    const [after] = cursor === undefined ? [] : decodeKeys(cursor, 1);
    const { owner } = adminOf(principal);
    const pools = await listPools(deps.db, { owner, status, after, limit: Number(limit) + 1 });
    const shown = pools.slice(0, Number(limit));
    const next = pools.length > shown.length ? encodeKeys(shown.at(-1)!.pool_id) : null;
    return { status: 200, body: { pools: shown, next_cursor: next } };
  },
});

const createRoute = route({
  method: 'post',
  path: PATH,
  operationId: 'createWorkerPool',
  tag,
  summary: 'Create a pool',
  description:
    'Nothing has to be restarted: workers poll the pool’s task queue, and rules may name it. A tenant’s admin makes a pool of and for ' +
    'the tenant. Pools hosted by customers, and hybrid ones, are refused until their trust is reviewed.',
  access: ADMIN,
  headers: idempotencyHeaders,
  body: { 'application/json': newPool },
  answers: { 201: { description: 'Created.', schema: poolAnswer } },
  problems: ['pool.exists', 'idempotency.conflict'],
  handle: ({ deps, principal, headers, body }) => {
    const { tenantId } = principal;
    const fingerprint = JSON.stringify(body);
    const asked = { tenantId, route: `POST ${PATH}`, key: headers['Idempotency-Key'], fingerprint };
    return maybeOnce(deps, asked, async (tx) => ({
      status: 201,
      body: { pool: await createPool(tx, body, adminOf(principal)) },
    }));
  },
});

const updateRoute = route({
  method: 'post',
  path: `${PATH}/{pool_id}/update`,
  operationId: 'updateWorkerPool',
  tag,
  summary: 'Change, pause, resume or retire a pool',
  description:
    'What is absent stays as it is, null clears. From a pool that is not active nothing is claimed, and nobody is registered into it; ' +
    'what its workers hold goes on. `retired` is final, `mode` cannot be changed.',
  access: ADMIN,
  params,
  body: { 'application/json': poolUpdate },
  answers: { 200: { description: 'The pool as it is now.', schema: poolAnswer } },
  problems: ['pool.not_active'],
  handle: async ({ deps, principal, params: { pool_id }, body }) => ({
    status: 200,
    body: { pool: await updatePool(deps.db, pool_id, body, adminOf(principal)) },
  }),
});

/** Admins' routes about pools. */
export const adminPoolRoutes = [listRoute, createRoute, updateRoute];
