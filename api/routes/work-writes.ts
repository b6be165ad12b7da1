import { z } from 'zod';
import { workloadId } from '../../contracts/ids';
import { Problem, type ProblemCode } from '../../contracts/problems';
import {
  commandRecord,
  commandStatusRequest,
  runStatusRequest,
  workEventRecord,
  workEventsRequest,
  workEventsWritten,
} from '../../contracts/work-writes';
import { debugPoint } from '../../domain/debug-point';
import type { FencedWrite } from '../../ledger/fenced-write';
import { unsentOf } from '../../ledger/outbox';
import { eventsAfter, writeEvents } from '../../ledger/work-writes/events';
import { writeCommandStatus } from '../../ledger/work-writes/records';
import { reportRun } from '../../ledger/work-writes/run-status';
import type { RouteDeps } from '../app-deps';
import { pageLimit } from '../fields';
import { route } from '../route';
import { leaseAccess, leaseHeaders, leaseParams, outcomeAnswer, writeOf } from './leases';

/** A batch of events; one of them may be as large as other bodies. */
const MAX_EVENTS_BYTES = 1024 * 1024;

interface WriteRoute<Body extends z.ZodType> {
  kind: string;
  operationId: string;
  summary: string;
  description: string;
  body: Body;
  maxBodyBytes?: number;
  answer: { description: string; schema: z.ZodType };
  problems: readonly ProblemCode[];
  write: (deps: RouteDeps, write: FencedWrite, body: z.output<Body>) => Promise<unknown>;
}

const writeRoute = <Body extends z.ZodType>({ kind, answer, problems, write, body, ...told }: WriteRoute<Body>) =>
  route({
    ...told,
    method: 'post',
    path: `/api/workers/{worker_id}/work/{work_id}/${kind}`,
    tag: 'Worker protocol',
    access: leaseAccess,
    params: leaseParams,
    headers: leaseHeaders,
    body: { 'application/json': body },
    answers: { 200: answer },
    problems: [
      'lease.token_required',
      'lease.stale',
      'workload.state_conflict',
      'idempotency.content_mismatch',
      ...problems,
    ],
    handle: async (request) => {
      const written = await write(request.deps, writeOf(request), request.body as z.output<Body>);
      debugPoint('work-write-committed');
      return { status: 200, body: written };
    },
  });

const eventsRoute = writeRoute({
  kind: 'events',
  operationId: 'writeWorkEvents',
  summary: 'Events of the work, 1–100 in order',
  description:
    'All that are new are recorded or, if one cannot be taken, none. A repeat is answered as before; the same id with other content is 409. ' +
    'Sequences grow over the whole workload, with or without gaps. At most 10,000 events and 64 MiB of payload a workload, 1 MiB a request.',
  body: workEventsRequest,
  maxBodyBytes: MAX_EVENTS_BYTES,
  answer: { description: 'Recorded, now or before.', schema: workEventsWritten },
  problems: ['sequence.not_monotonic', 'work.limit_reached'],
  write: ({ db }, write, { events }) => writeEvents(db, write, events),
});

const runStatusRoute = writeRoute({
  kind: 'run-status',
  operationId: 'writeRunStatus',
  summary: 'How managed work stands',
  description:
    '`completed`, `failed` and `cancelled` end it, once: the workload is `completed`, `failed` or `aborted`, or handed over again by its rule. ' +
    'The same end again is answered, another one is 409. After a cancel the end is still taken, and frees the worker’s slot.',
  body: runStatusRequest,
  answer: { description: 'Where the workload stands now.', schema: outcomeAnswer },
  problems: [],
  write: async ({ db, wakes }, write, body) => {
    const { answer, wake } = await reportRun(db, write, body);
    if (wake) wakes.send(unsentOf(wake));
    return answer;
  },
});

const commandStatusRoute = writeRoute({
  kind: 'command-status',
  operationId: 'writeCommandStatus',
  summary: 'Where a command of the session stands',
  description:
    'It goes on from `pending` over `running` to `acked` or `failed`, and never back. The record of the workload lists `commands`, 1,000 at most.',
  body: commandStatusRequest,
  answer: { description: 'The command as it is kept.', schema: commandRecord },
  problems: ['work.limit_reached'],
  write: ({ db }, write, body) => writeCommandStatus(db, write, body),
});

const readEventsRoute = route({
  method: 'get',
  path: '/api/workloads/{workload_id}/events',
  operationId: 'listWorkEvents',
  tag: 'Workloads',
  summary: 'What the worker told while it worked, in order',
  description: 'Pages go by `after`, the sequence that was read last. A page has at most 4 MiB of payloads.',
  access: { kind: 'token', scopes: ['workloads:read', 'workloads:write'] },
  params: z.object({ workload_id: workloadId }),
  query: z.strictObject({
    after: z
      .string()
      .regex(/^(0|[1-9][0-9]{0,14})$/, 'must be a sequence')
      .default('0')
      .meta({ description: 'Only events after this sequence. Default 0: from the first.' }),
    limit: pageLimit,
  }),
  answers: {
    200: {
      description: 'A page; `next_after` is null on the last one.',
      schema: z.object({ events: z.array(workEventRecord), next_after: z.int().nullable() }),
    },
  },
  handle: async ({ deps, principal, params: { workload_id: id }, query }) => {
    const asked = { after: Number(query.after), limit: Number(query.limit) };
    const page = await eventsAfter(deps.db, principal.tenantId, id, asked);
    if (!page) throw new Problem('not_found', 'No such workload.');
    const last = page.events.at(-1);
    return { status: 200, body: { events: page.events, next_after: page.more && last ? last.sequence : null } };
  },
});

/** What workers write of their work beside its end, and who reads it. */
export const workWriteRoutes = [eventsRoute, runStatusRoute, commandStatusRoute, readEventsRoute];
