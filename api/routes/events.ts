import type { Response } from 'express';
import { z } from 'zod';
import { sourceEvent, type PostedEvent } from '../../contracts/events';
import { decisionRecord } from '../../contracts/workload-record';
import { debugPoint } from '../../domain/debug-point';
import { acceptEvent, type Accepted } from '../../ledger/accept';
import { acceptTogether } from '../../ledger/accept-batch';
import { notingDenials } from '../../ledger/denials';
import type { TokenPrincipal } from '../../ledger/tokens';
import { acceptedAnswer, answerOf, batchResult, wakeFor } from '../accepted';
import type { RouteDeps } from '../app-deps';
import { readBytes } from '../body';
import { cloudEvent } from '../cloud-events';
import { CLOUD_EVENT, CLOUD_EVENT_BATCH, MAX_BATCH, readEvents } from '../event-request';
import { MAX_WAIT_SECONDS, waitSecondsOf } from '../prefer';
import { route, type RouteAnswer } from '../route';
import { checkCallback } from '../webhook-settings';
import { postEventBatch } from './event-batch';

const decidedAnswer = acceptedAnswer.extend({ decision: decisionRecord }).meta({ id: 'DecidedEvent' });

const postEvent = route({
  method: 'post',
  path: '/api/events',
  operationId: 'postEvent',
  tag: 'Events',
  summary: 'Post a source event',
  description:
    'Recorded once by (tenant, source, event_id): the same event again answers with its workload and `duplicate: true`, the same ' +
    'identity with another body is 409. Answered when it is committed, whether Temporal is there or not.\n\n' +
    'CloudEvents 1.0 are taken in structured and batch mode as described here, and in binary mode: `ce-specversion`, `ce-id`, ' +
    '`ce-source`, `ce-type` and further attributes as headers, the data as body of any media type. A batch of CloudEvents is ' +
    'taken as a whole: either all of them are accepted or none is.',
  access: { kind: 'token', scopes: ['events:write'] },
  headers: z.object({
    Prefer: z
      .string()
      .optional()
      .meta({ description: `\`wait=N\`: wait up to N seconds (at most ${MAX_WAIT_SECONDS}) for the decision.` }),
  }),
  ownBody: {
    'application/json': sourceEvent,
    [CLOUD_EVENT]: cloudEvent,
    [CLOUD_EVENT_BATCH]: z.array(cloudEvent).max(MAX_BATCH),
  },
  answers: {
    200: {
      description: 'Decided within the time of `Prefer: wait`; or a batch of CloudEvents was accepted.',
      schema: z.union([decidedAnswer, z.object({ results: z.array(batchResult) })]),
    },
    202: {
      description: 'Accepted.',
      schema: acceptedAnswer,
      headers: { Location: 'The workload' },
    },
  },
  problems: [
    'event.conflict',
    'quota.exceeded',
    'entitlement.lapsed',
    'callback.forbidden_host',
    'callback.limit',
    'webhook.not_configured',
  ],
  handle: async ({ deps, principal, headers, raw, response }) => {
    const { isBatch, events } = readEvents(raw, await readBytes(raw, response));
    if (isBatch) return acceptAllOf(deps, principal, events);
    const [event] = events as [PostedEvent];
    checkCallback(deps.webhooks, event);
    const accepted = await acceptEvent(deps.db, principal.tenantId, event, `token:${principal.tokenId}`);
    debugPoint('accept-committed');
    wakeFor(deps, principal, event, accepted);
    return answered(deps, principal, accepted, waitSecondsOf(headers.Prefer), response);
  },
});

async function acceptAllOf(deps: RouteDeps, principal: TokenPrincipal, events: PostedEvent[]): Promise<RouteAnswer> {
  const { tenantId } = principal;
  const actor = `token:${principal.tokenId}`;
  const accepted = await notingDenials(deps.db, { tenantId, actor }, () =>
    deps.db.transaction((tx) => acceptTogether(tx, tenantId, events, actor)),
  );
  for (const [index, each] of accepted.entries()) wakeFor(deps, principal, events[index]!, each);
  return { status: 200, body: { results: accepted.map((each) => ({ status: 202, ...answerOf(each) })) } };
}

/** The answer to one event, after its decision if the caller prefers to wait that long. */
async function answered(
  deps: RouteDeps,
  principal: TokenPrincipal,
  accepted: Accepted,
  waitSeconds: number,
  response: Response,
): Promise<RouteAnswer> {
  const answer = answerOf(accepted);
  const location = { Location: answer.links.self };
  if (waitSeconds === 0) return { status: 202, body: answer, headers: location };

  const gone = new AbortController();
  response.once('close', () => gone.abort());
  response.locals.waited = true;
  const seen = await deps.waiters.wait(principal.tenantId, accepted.workloadId, waitSeconds * 1000, gone.signal);
  const applied = { ...location, 'Preference-Applied': `wait=${waitSeconds}` };
  const state = seen?.state ?? accepted.state;
  return seen?.decision
    ? { status: 200, body: { ...answer, state, decision: seen.decision }, headers: applied }
    : { status: 202, body: { ...answer, state }, headers: applied };
}

/** Routes of source events. */
export const eventRoutes = [postEvent, postEventBatch];
