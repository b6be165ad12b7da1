import type { PostedEvent } from '../contracts/events';
import { Problem, type ProblemCode } from '../contracts/problems';
import { acceptEvent, type Accepted } from './accept';
import type { Queryable } from './database';
import { noteDenial } from './denials';

/** What became of each event of a batch, in its order; undefined where there was none. */
export type BatchOutcome = (Accepted | Problem | undefined)[];

/** Problems that leave the other events alone. */
const OF_ONE_EVENT: readonly ProblemCode[] = [
  'event.conflict',
  'callback.limit',
  'quota.exceeded',
  'entitlement.lapsed',
];

/**
 * Accepts events within a transaction, each on its own: a problem that is one event's alone is the outcome of that event. They are
 * taken in the order of their identity, so that two batches cannot lock each other out.
 */
export async function acceptBatch(
  tx: Queryable,
  tenantId: string,
  events: readonly (PostedEvent | undefined)[],
  actor: string,
): Promise<BatchOutcome> {
  const identity = (index: number): string => JSON.stringify([events[index]!.source, events[index]!.event_id]);
  const order = [...events.keys()]
    .filter((index) => events[index] !== undefined)
    .map((index) => ({ index, identity: identity(index) }))
    .sort((a, b) => (a.identity < b.identity ? -1 : a.identity > b.identity ? 1 : a.index - b.index));
  const outcome: BatchOutcome = events.map(() => undefined);
  for (const { index } of order) {
    outcome[index] = await acceptEvent(tx, tenantId, events[index]!, actor).catch(async (error: unknown) => {
      if (!(error instanceof Problem && OF_ONE_EVENT.includes(error.code))) throw error;
      await noteDenial(tx, { tenantId, actor }, error);
      return error;
    });
  }
  return outcome;
}

/**
 * Accepts events within a transaction, all or none: the first problem of an event is thrown, and points to its event below `base`.
 */
export async function acceptTogether(
  tx: Queryable,
  tenantId: string,
  events: readonly PostedEvent[],
  actor: string,
  base = '',
): Promise<Accepted[]> {
  const outcome = await acceptBatch(tx, tenantId, events, actor);
  return outcome.map((each, index) => {
    if (!(each instanceof Problem)) return each!;
    throw new Problem(each.code, `Nothing was taken. ${each.message}`, {
      errors: (each.errors ?? []).map(({ pointer, detail }) => ({ pointer: `${base}/${index}${pointer}`, detail })),
      ...(each.extra && { extra: each.extra }),
      ...(each.retryAfterMs !== undefined && { retryAfterMs: each.retryAfterMs }),
    });
  });
}
