import type { Response } from 'express';
import { z } from 'zod';
import { eventBatch } from '../../contracts/event-batch';
import { sourceEvent, type PostedEvent } from '../../contracts/events';
import { Problem } from '../../contracts/problems';
import type { BatchState } from '../../contracts/source-state';
import { debugPoint } from '../../domain/debug-point';
import { acceptBatch } from '../../ledger/accept-batch';
import { acceptWithState } from '../../ledger/accept-with-state';
import type { TokenPrincipal } from '../../ledger/tokens';
import { answerOf, batchResult, wakeFor, type BatchResult } from '../accepted';
import type { RouteDeps } from '../app-deps';
import { hasScope } from '../auth';
import { fromCloudEvent } from '../cloud-events';
import { CLOUD_EVENT_BATCH, MAX_BATCH } from '../event-request';
import { problemFromZod, renderProblem, requestIdOf } from '../problem';
import { route, type RouteAnswer } from '../route';
import { checkCallback, type WebhookSettings } from '../webhook-settings';

/** The event, or what is wrong with it. */
type Item = PostedEvent | Problem;

const ours = (value: unknown, webhooks: WebhookSettings): PostedEvent => {
  const parsed = sourceEvent.safeParse(value);
  if (!parsed.success) throw problemFromZod(parsed.error);
  checkCallback(webhooks, parsed.data);
  return parsed.data;
};

const item = (read: () => PostedEvent): Item => {
  try {
    return read();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
};

const batchAnswer = z.object({
  results: z.array(batchResult),
  /** Only with `state`: where it stands now. */
  state: z.object({ source: z.string(), key: z.string(), version: z.int() }).optional(),
  /** Only with `state`: all of it had been committed by an earlier request, whose answer may have been lost. */
  replayed: z.boolean().optional(),
});

/** The route of batches. */
export const postEventBatch = route({
  method: 'post',
  path: '/api/events/batch',
  operationId: 'postEventBatch',
  tag: 'Events',
  summary: 'Post up to 100 source events',
  description:
    'Each event is answered on its own, in order, as if it had been posted alone: a wrong one does not keep the others out. All ' +
    'that are accepted are committed together, so after an error of the whole request the batch is simply sent again. The whole ' +
    'body is at most 256 KiB, as everywhere.\n\n' +
    'With `state` (scope `sources:write` too) the events are accepted and the source state is moved on, both or nothing: one ' +
    'wrong event, or somebody else who moved the state, and nothing is taken. Sent again after a lost answer it is `replayed`.',
  access: { kind: 'token', scopes: ['events:write'] },
  body: {
    'application/json': eventBatch,
    [CLOUD_EVENT_BATCH]: z
      .array(z.unknown())
      .min(1)
      .max(MAX_BATCH)
      .meta({ items: { $ref: '#/components/schemas/CloudEvent' } }),
  },
  answers: { 200: { description: 'One result per event.', schema: batchAnswer } },
  problems: [
    'event.conflict',
    'quota.exceeded',
    'entitlement.lapsed',
    'state.precondition_failed',
    'state.too_many_keys',
  ],
  handle: async ({ deps, principal, body, response }) => {
    if (Array.isArray(body)) {
      const events = body.map((each) => item(() => fromCloudEvent(each)));
      return answeredEach(deps, principal, events, response);
    }
    const items = body.events.map((each) => item(() => ours(each, deps.webhooks)));
    return body.state
      ? answeredTogether(deps, principal, items, body.state)
      : answeredEach(deps, principal, items, response);
  },
});

async function answeredEach(
  deps: RouteDeps,
  principal: TokenPrincipal,
  items: Item[],
  response: Response,
): Promise<RouteAnswer> {
  const events = items.map((each) => (each instanceof Problem ? undefined : each));
  const outcome = await deps.db.transaction((tx) =>
    acceptBatch(tx, principal.tenantId, events, `token:${principal.tokenId}`),
  );
  const results = items.map((each, index): BatchResult => {
    const result = each instanceof Problem ? each : outcome[index]!;
    if (result instanceof Problem) {
      return {
        status: result.status,
        problem: renderProblem(result, requestIdOf(response.req)) as BatchResult['problem'],
      };
    }
    wakeFor(deps, principal, events[index]!, result);
    return { status: 202, ...answerOf(result) };
  });
  response.locals.itemCodes = results.map(({ problem }) => problem?.code);
  return { status: 200, body: { results } };
}

async function answeredTogether(
  deps: RouteDeps,
  principal: TokenPrincipal,
  items: Item[],
  state: BatchState,
): Promise<RouteAnswer> {
  if (!hasScope(principal, 'token', ['sources:write'])) {
    throw new Problem('auth.scope_required', 'A batch with a state needs the scope sources:write too.');
  }
  const events = allOf(items);
  const { key } = state;
  const source = state.source ?? onlySourceOf(events);
  const { accepted, version, replayed } = await acceptWithState(
    deps.db,
    {
      events,
      state: { tenantId: principal.tenantId, source, key },
      condition: state.if_match === null ? 'absent' : { version: state.if_match },
      value: state.value,
    },
    `token:${principal.tokenId}`,
  );
  debugPoint('batch-committed');
  for (const [index, each] of accepted.entries()) wakeFor(deps, principal, events[index]!, each);
  const results = accepted.map((each): BatchResult => ({ status: 202, ...answerOf(each) }));
  return { status: 200, body: { results, state: { source, key, version }, replayed } };
}

/** The events, or one problem with all that is wrong with them. */
function allOf(items: Item[]): PostedEvent[] {
  const errors = items.flatMap((each, index) =>
    each instanceof Problem
      ? (each.errors ?? [{ pointer: '', detail: each.message }]).map(({ pointer, detail }) => ({
          pointer: `/events/${index}${pointer}`,
          detail,
        }))
      : [],
  );
  if (errors.length === 0) return items as PostedEvent[];
  throw new Problem('request.invalid', 'An event breaks a rule, so nothing was taken.', {
    errors: errors.slice(0, 50),
  });
}

function onlySourceOf(events: PostedEvent[]): string {
  const [source, ...others] = new Set(events.map((event) => event.source));
  if (source !== undefined && others.length === 0) return source;
  throw new Problem('request.invalid', 'The source of the state is not told by the events.', {
    errors: [{ pointer: '/state/source', detail: 'is needed unless all events have the same source' }],
  });
}
