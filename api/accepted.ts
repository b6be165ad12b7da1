import { z } from 'zod';
import type { SourceEvent } from '../contracts/events';
import { WORKLOAD_STATES } from '../contracts/terminology';
import type { Accepted } from '../ledger/accept';
import type { TokenPrincipal } from '../ledger/tokens';
import type { RouteDeps } from './app-deps';
import { linksOf, workloadLinks } from './links';
import { problemDocument } from './problem';

/** The answer to an accepted event. */
export const acceptedAnswer = z
  .object({
    workload_id: z.string(),
    state: z.enum(WORKLOAD_STATES),
    /** The ledger had this event before; nothing was started. */
    duplicate: z.boolean(),
    links: workloadLinks,
  })
  .meta({ id: 'AcceptedEvent' });

/** What became of one event of a batch. */
export const batchResult = z
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
export type BatchResult = z.infer<typeof batchResult>;

/** How an accepted event is answered. */
export const answerOf = ({ workloadId, state, duplicate }: Accepted): z.infer<typeof acceptedAnswer> => ({
  workload_id: workloadId,
  state,
  duplicate,
  links: linksOf(workloadId),
});

/** Tells Temporal of a new event, after its commit. */
export function wakeFor(
  deps: RouteDeps,
  { tenantId }: Pick<TokenPrincipal, 'tenantId'>,
  event: SourceEvent,
  accepted: Accepted,
): void {
  if (accepted.duplicate) return;
  deps.wakes.send({
    workload_id: accepted.workloadId,
    tenant_id: tenantId,
    source: event.source,
    action: event.action,
    state: 'accepted',
    closed: false,
    wake_seq: '1',
    wait_ms: null,
  });
}
