import { z } from 'zod';
import { eventBatch, sourceEvent } from '../../contracts/events';
import type { SourceEvent } from '../../contracts/events';
import { Problem } from '../../contracts/problems';
import { WORKLOAD_STATES } from '../../contracts/terminology';
import { decisionRecord } from '../../contracts/workload-record';
import { debugPoint } from '../../domain/debug-point';
import { acceptEvent, type Accepted } from '../../ledger/accept';
import type { TokenPrincipal } from '../../ledger/tokens';
import type { RouteDeps } from '../app-deps';
import { linksOf, workloadLinks } from '../links';
import { MAX_WAIT_SECONDS, waitSecondsOf } from '../prefer';
import { problemDocument, problemFromZod, renderProblem, requestIdOf } from '../problem';
import { route } from '../route';

const acceptedAnswer = z
  .object({
    workload_id: z.string(),
    state: z.enum(WORKLOAD_STATES),
    /** The ledger had this event before; nothing was started. */
    duplicate: z.boolean(),
    links: workloadLinks,
  })
  .meta({ id: 'AcceptedEvent' });

const decidedAnswer = acceptedAnswer.extend({ decision: decisionRecord }).meta({ id: 'DecidedEvent' });

const batchResult = z
  .object({
    /** What the event alone would have been answered with. */
    status: z.int(),
    workload_id: z.string().optional(),
    state: z.enum(WORKLOAD_STATES).optional(),
    duplicate: z.boolean().optional(),
    links: workloadLinks.optional(),
    problem: problemDocument.optional(),
  })
  .meta({ id: 'BatchResult' });

const answerOf = ({ workloadId, state, duplicate }: Accepted): z.infer<typeof acceptedAnswer> => ({
  workload_id: workloadId,
  state,
  duplicate,
  links: linksOf(workloadId),
});

/** Tells Temporal of a new event, after its commit. */
function wakeFor(deps: RouteDeps, principal: TokenPrincipal, event: SourceEvent, accepted: Accepted): void {
  if (accepted.duplicate) return;
  deps.wakes.send({
    workload_id: accepted.workloadId,
    tenant_id: principal.tenantId,
    source: event.source,
    action: event.action,
    state: 'accepted',
    closed: false,
    wake_seq: '1',
    wait_ms: null,
  });
}

const postEvent = route({
  method: 'post',
  path: '/api/events',
  operationId: 'postEvent',
  tag: 'Events',
  summary: 'Post a source event',
  description:
    'Recorded once by (tenant, source, event_id): the same event again answers with its workload and `duplicate: true`, the same ' +
    'identity with another body is 409. Answered when it is committed, whether Temporal is there or not.',
  access: { kind: 'token', scopes: ['events:write'] },
  headers: z.object({
    Prefer: z
      .string()
      .optional()
      .meta({ description: `\`wait=N\`: wait up to N seconds (at most ${MAX_WAIT_SECONDS}) for the decision.` }),
  }),
  body: { 'application/json': sourceEvent },
  answers: {
    200: { description: 'Decided within the time of `Prefer: wait`.', schema: decidedAnswer },
    202: {
      description: 'Accepted.',
      schema: acceptedAnswer,
      headers: { Location: 'The workload' },
    },
  },
  problems: ['event.conflict'],
  handle: async ({ deps, principal, headers, body, response }) => {
    const accepted = await acceptEvent(deps.db, principal.tenantId, body, `token:${principal.tokenId}`);
    debugPoint('accept-committed');
    wakeFor(deps, principal, body, accepted);
    const answer = answerOf(accepted);
    const location = { Location: answer.links.self };
    const seconds = waitSecondsOf(headers.Prefer);
    if (seconds === 0) return { status: 202, body: answer, headers: location };

    const gone = new AbortController();
    response.once('close', () => gone.abort());
    response.locals.waited = true;
    const seen = await deps.waiters.wait(principal.tenantId, accepted.workloadId, seconds * 1000, gone.signal);
    const applied = { ...location, 'Preference-Applied': `wait=${seconds}` };
    const state = seen?.state ?? accepted.state;
    return seen?.decision
      ? { status: 200, body: { ...answer, state, decision: seen.decision }, headers: applied }
      : { status: 202, body: { ...answer, state }, headers: applied };
  },
});

type BatchResult = z.infer<typeof batchResult>;

const postEventBatch = route({
  method: 'post',
  path: '/api/events/batch',
  operationId: 'postEventBatch',
  tag: 'Events',
  summary: 'Post up to 100 source events',
  description:
    'Each event is answered on its own, in order, as if it had been posted alone: a wrong one does not keep the others out. All ' +
    'that are accepted are committed together, so after an error of the whole request the batch is simply sent again. The whole ' +
    'body is at most 256 KiB, as everywhere.',
  access: { kind: 'token', scopes: ['events:write'] },
  body: { 'application/json': eventBatch },
  answers: { 200: { description: 'One result per event.', schema: z.object({ results: z.array(batchResult) }) } },
  handle: async ({ deps, principal, body, raw }) => {
    const requestId = requestIdOf(raw);
    const items = body.events.map((event) => sourceEvent.safeParse(event));
    const accepted = await acceptAll(
      deps,
      principal,
      items.map((item) => item.data),
    );
    const results = items.map((item, index): BatchResult => {
      const outcome = item.success ? accepted[index]! : problemFromZod(item.error);
      if (outcome instanceof Problem) {
        return { status: outcome.status, problem: renderProblem(outcome, requestId) as BatchResult['problem'] };
      }
      wakeFor(deps, principal, item.data!, outcome);
      return { status: 202, ...answerOf(outcome) };
    });
    return { status: 200, body: { results } };
  },
});

/** Accepts all events in one transaction; in the order of their identity, so that two batches cannot lock each other out. */
async function acceptAll(
  deps: RouteDeps,
  principal: TokenPrincipal,
  events: readonly (SourceEvent | undefined)[],
): Promise<(Accepted | Problem | undefined)[]> {
  const identity = (index: number): string => JSON.stringify([events[index]!.source, events[index]!.event_id]);
  const order = [...events.keys()]
    .filter((index) => events[index] !== undefined)
    .map((index) => ({ index, identity: identity(index) }))
    .sort((a, b) => (a.identity < b.identity ? -1 : a.identity > b.identity ? 1 : a.index - b.index));
  return deps.db.transaction(async (tx) => {
    const results: (Accepted | Problem | undefined)[] = events.map(() => undefined);
    for (const { index } of order) {
      results[index] = await acceptEvent(tx, principal.tenantId, events[index]!, `token:${principal.tokenId}`).catch(
        (error: unknown) => {
          if (error instanceof Problem && error.code === 'event.conflict') return error;
          throw error;
        },
      );
    }
    return results;
  });
}

/** Routes of source events. */
export const eventRoutes = [postEvent, postEventBatch];
