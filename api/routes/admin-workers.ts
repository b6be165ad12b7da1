import { z } from 'zod';
import { Problem } from '../../contracts/problems';
import { EXECUTORS, WORKER_STATES } from '../../contracts/terminology';
import { trustAgain } from '../../ledger/suspect-slot';
import { listWorkers, type WorkerRecord } from '../../ledger/worker-list';
import { operatorReason } from '../fields';
import { route } from '../route';

const workerAnswer = z
  .object({
    worker_id: z.string(),
    pool_id: z.string(),
    display_name: z.string(),
    status: z.enum(WORKER_STATES),
    max_open_deliveries: z.int(),
    open_deliveries: z.int(),
    /** What it offers to do; null: it did not say, which means OpenCrow. */
    executors: z.array(z.enum(EXECUTORS)).nullable(),
    version: z.string().nullable(),
    last_heartbeat_at: z.iso.datetime().nullable(),
    /** Since when its slot waits for a probe, after a lost delivery. */
    suspect_since: z.iso.datetime().nullable(),
    suspect_probe_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Worker' });

const iso = (date: Date | null): string | null => date?.toISOString() ?? null;

const answerOf = (worker: WorkerRecord): z.infer<typeof workerAnswer> => ({
  ...worker,
  last_heartbeat_at: iso(worker.last_heartbeat_at),
  suspect_since: iso(worker.suspect_since),
  suspect_probe_at: iso(worker.suspect_probe_at),
});

const listRoute = route({
  method: 'get',
  path: '/api/admin/workers',
  operationId: 'listWorkers',
  tag: 'Workers',
  summary: 'All workers of all pools',
  access: { kind: 'operator' },
  answers: { 200: { description: 'The workers.', schema: z.object({ workers: z.array(workerAnswer) }) } },
  handle: async ({ deps }) => ({ status: 200, body: { workers: (await listWorkers(deps.db)).map(answerOf) } }),
});

const clearRoute = route({
  method: 'post',
  path: '/api/admin/workers/{worker_id}/clear-suspect',
  operationId: 'clearSuspect',
  tag: 'Workers',
  summary: "Close a worker's suspect slot",
  description:
    'After a lost delivery a worker gets no new one until a probe goes well. This says that its executor is fine again. ' +
    'It also gives back the slots of workloads that were cancelled after they had been handed over.',
  access: { kind: 'operator' },
  params: z.object({ worker_id: z.string().min(1).max(256) }),
  body: { 'application/json': z.strictObject({ reason: operatorReason }).meta({ id: 'ClearSuspectOrder' }) },
  answers: {
    200: {
      description: 'Done.',
      schema: z.object({ worker: workerAnswer, cleared: z.boolean(), freed_slots: z.int() }),
    },
  },
  handle: async ({ deps, principal, params: { worker_id }, body: { reason } }) => {
    const known = (await listWorkers(deps.db)).some((worker) => worker.worker_id === worker_id);
    if (!known) throw new Problem('not_found', 'No such worker.');
    const { cleared, freed } = await trustAgain(deps.db, worker_id, reason, `token:${principal.tokenId}`);
    const worker = (await listWorkers(deps.db)).find((each) => each.worker_id === worker_id);
    if (!worker) throw new Problem('not_found', 'No such worker.');
    return { status: 200, body: { worker: answerOf(worker), cleared, freed_slots: freed } };
  },
});

/** Operators' routes about workers. */
export const adminWorkerRoutes = [listRoute, clearRoute];
