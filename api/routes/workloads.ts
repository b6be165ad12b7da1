import { z } from 'zod';
import { externalId, slug, workloadId } from '../../contracts/ids';
import { Problem } from '../../contracts/problems';
import { TERMINAL_STATUSES, WORKLOAD_STATES } from '../../contracts/terminology';
import { workloadRecord, workloadSummary } from '../../contracts/workload-record';
import { operateWithin, type OperatorAction } from '../../ledger/operator-actions';
import { unsentOf } from '../../ledger/outbox';
import { listWorkloads, workloadRecordOf } from '../../ledger/queries';
import { summaryOf } from '../../ledger/workload-summary';
import type { TokenPrincipal } from '../../ledger/tokens';
import type { RouteDeps } from '../app-deps';
import { idempotencyHeaders, operatorReason, pageCursor, pageLimit } from '../fields';
import { maybeOnce } from '../keyed';
import { route, type RouteAnswer } from '../route';

const params = z.object({ workload_id: workloadId });

const listRoute = route({
  method: 'get',
  path: '/api/workloads',
  operationId: 'listWorkloads',
  tag: 'Workloads',
  summary: 'List workloads, newest first',
  description:
    'Pages are stable: what is accepted or changes meanwhile neither repeats nor hides a workload of an older page.',
  access: { kind: 'token', scopes: ['workloads:read', 'workloads:write'] },
  query: z.strictObject({
    state: z.enum(WORKLOAD_STATES).optional(),
    source: externalId.optional(),
    action: externalId.optional(),
    rule: slug.optional(),
    since: z.iso.datetime({ offset: true }).optional().meta({ description: 'Accepted at this time or later.' }),
    limit: pageLimit,
    cursor: pageCursor(200),
  }),
  answers: {
    200: {
      description: 'A page.',
      schema: z.object({ workloads: z.array(workloadSummary), next_cursor: z.string().nullable() }),
    },
  },
  handle: async ({ deps, principal, query }) => {
    const { state, source, action, rule, since, limit, cursor } = query;
    const page = await listWorkloads(
      deps.db,
      principal.tenantId,
      { state, source, action, rule, since: since === undefined ? undefined : new Date(since) },
      { limit: Number(limit), cursor },
    );
    return { status: 200, body: { workloads: page.workloads, next_cursor: page.nextCursor } };
  },
});

const getRoute = route({
  method: 'get',
  path: '/api/workloads/{workload_id}',
  operationId: 'getWorkload',
  tag: 'Workloads',
  summary: 'All that the ledger knows of a workload',
  description: 'State and reason, decision, deliveries, lifecycle, and the audit as `timeline`, of one moment.',
  access: { kind: 'token', scopes: ['workloads:read', 'workloads:write'] },
  params,
  answers: { 200: { description: 'The record.', schema: workloadRecord } },
  handle: async ({ deps, principal, params: { workload_id } }) => {
    const record = await workloadRecordOf(deps.db, principal.tenantId, workload_id);
    if (!record) throw new Problem('not_found', 'No such workload.');
    return { status: 200, body: record };
  },
});

const order = z.strictObject({ reason: operatorReason }).meta({ id: 'OperatorOrder' });
const resolution = z
  .strictObject({
    reason: operatorReason,
    /** What became of the work, by the operator's own knowledge. */
    outcome: z.enum(TERMINAL_STATUSES),
  })
  .meta({ id: 'Resolution' });

interface Order {
  deps: RouteDeps;
  principal: TokenPrincipal;
  workloadId: string;
  reason: string;
  key: string | undefined;
  route: string;
  action: OperatorAction;
}

/** Key, effect and answer in one transaction; the wake after its commit. */
async function carryOut({
  deps,
  principal,
  workloadId: id,
  reason,
  key,
  route: name,
  action,
}: Order): Promise<RouteAnswer> {
  const asked = { tenantId: principal.tenantId, workloadId: id, actor: `token:${principal.tokenId}`, reason };
  const fingerprint = JSON.stringify([id, action, reason]);
  return maybeOnce(deps, { tenantId: principal.tenantId, route: name, key, fingerprint }, async (tx) => {
    const row = await operateWithin(tx, asked, action);
    return { status: 200, body: summaryOf(row), committed: () => deps.wakes.send(unsentOf(row)) };
  });
}

const actionRoute = (action: 'cancel' | 'approve' | 'deny' | 'redeliver', summary: string, description: string) =>
  route({
    method: 'post',
    path: `/api/workloads/{workload_id}/${action}`,
    operationId: `${action}Workload`,
    tag: 'Workloads',
    summary,
    description,
    access: { kind: 'token', scopes: ['workloads:write'] },
    params,
    headers: idempotencyHeaders,
    body: { 'application/json': order },
    answers: { 200: { description: 'Done; the workload as it stands now.', schema: workloadSummary } },
    problems: [
      'workload.state_conflict',
      'idempotency.conflict',
      ...(action === 'redeliver' ? (['dedupe.held'] as const) : []),
    ],
    handle: ({ deps, principal, params: { workload_id }, headers: given, body }) =>
      carryOut({
        deps,
        principal,
        workloadId: workload_id,
        reason: body.reason,
        key: given['Idempotency-Key'],
        route: `POST /api/workloads/{workload_id}/${action}`,
        action: { action },
      }),
  });

const resolveRoute = route({
  method: 'post',
  path: '/api/workloads/{workload_id}/resolve',
  operationId: 'resolveWorkload',
  tag: 'Workloads',
  summary: 'State the outcome of a lost workload',
  access: { kind: 'token', scopes: ['workloads:write'] },
  params,
  headers: idempotencyHeaders,
  body: { 'application/json': resolution },
  answers: { 200: { description: 'Done; the workload as it stands now.', schema: workloadSummary } },
  problems: ['workload.state_conflict', 'idempotency.conflict'],
  handle: ({ deps, principal, params: { workload_id }, headers: given, body }) =>
    carryOut({
      deps,
      principal,
      workloadId: workload_id,
      reason: body.reason,
      key: given['Idempotency-Key'],
      route: 'POST /api/workloads/{workload_id}/resolve',
      action: { action: 'resolve', outcome: body.outcome },
    }),
});

/** Routes of workloads. */
export const workloadRoutes = [
  listRoute,
  getRoute,
  actionRoute(
    'cancel',
    'Cancel a workload',
    'Before it was handed over it will never run. After that it may still run: `may_still_run` says so.',
  ),
  actionRoute('approve', 'Approve a held workload', 'It is queued.'),
  actionRoute('deny', 'Deny a held workload', 'It ends as `denied`.'),
  actionRoute(
    'redeliver',
    'Hand an ended workload over once more',
    'A further delivery, under the rule it was admitted by. Refused while another workload holds its dedupe key.',
  ),
  resolveRoute,
];
