import { z } from 'zod';
import { eventBatch, sourceEvent, type PostedEvent } from '../../contracts/events';
import { Problem } from '../../contracts/problems';
import { acceptBatch } from '../../ledger/accept-batch';
import { answerOf, batchResult, wakeFor, type BatchResult } from '../accepted';
import { fromCloudEvent } from '../cloud-events';
import { CLOUD_EVENT_BATCH, MAX_BATCH } from '../event-request';
import { problemFromZod, renderProblem, requestIdOf } from '../problem';
import { route } from '../route';
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
    'body is at most 256 KiB, as everywhere.',
  access: { kind: 'token', scopes: ['events:write'] },
  body: {
    'application/json': eventBatch,
    [CLOUD_EVENT_BATCH]: z
      .array(z.unknown())
      .min(1)
      .max(MAX_BATCH)
      .meta({ items: { $ref: '#/components/schemas/CloudEvent' } }),
  },
  answers: { 200: { description: 'One result per event.', schema: z.object({ results: z.array(batchResult) }) } },
  handle: async ({ deps, principal, body, raw }) => {
    const items = Array.isArray(body)
      ? body.map((each) => item(() => fromCloudEvent(each)))
      : body.events.map((each) => item(() => ours(each, deps.webhooks)));
    const events = items.map((each) => (each instanceof Problem ? undefined : each));
    const outcome = await deps.db.transaction((tx) =>
      acceptBatch(tx, principal.tenantId, events, `token:${principal.tokenId}`),
    );
    const results = items.map((each, index): BatchResult => {
      const result = each instanceof Problem ? each : outcome[index]!;
      if (result instanceof Problem) {
        return {
          status: result.status,
          problem: renderProblem(result, requestIdOf(raw)) as BatchResult['problem'],
        };
      }
      wakeFor(deps, principal, events[index]!, result);
      return { status: 202, ...answerOf(result) };
    });
    return { status: 200, body: { results } };
  },
});
