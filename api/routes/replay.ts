import { z } from 'zod';
import { workloadId } from '../../contracts/ids';
import { replayWithin, wakeOf, type Replayed, type ReplayOrder } from '../../ledger/replays';
import { idempotencyHeaders, operatorReason } from '../fields';
import { maybeOnce } from '../keyed';
import { linksOf, workloadLinks } from '../links';
import { route } from '../route';

const replayOrder = z
  .strictObject({
    reason: operatorReason,
    /** It goes on though another workload holds its dedupe key; both note it. Default false: it ends as `duplicate`. */
    bypass_dedupe: z.boolean().default(false),
  })
  .meta({ id: 'ReplayOrder' });

/** What a replay is answered with. */
export const replayAnswer = z
  .object({
    /** The new workload. */
    workload_id: z.string(),
    replay_of: z.string(),
    state: z.literal('accepted'),
    links: workloadLinks,
  })
  .meta({ id: 'ReplayedWorkload' });

const PATH = '/api/workloads/{workload_id}/replay';

const replayRoute = route({
  method: 'post',
  path: PATH,
  operationId: 'replayWorkload',
  tag: 'Workloads',
  summary: 'Post a past event again',
  description:
    'Of a workload that has ended (`lost` included), as a new event `replay:<random>:<event_id>` with a workload of its own. It is decided ' +
    'anew, by the policy and the dedupe claims of now; the two name each other in `replay_of` and `replays`.',
  access: { kind: 'token', scopes: ['workloads:write'] },
  params: z.object({ workload_id: workloadId }),
  headers: idempotencyHeaders,
  body: { 'application/json': replayOrder },
  answers: { 202: { description: 'Accepted.', schema: replayAnswer, headers: { Location: 'The new workload' } } },
  problems: ['workload.state_conflict', 'replay.body_pruned', 'entitlement.lapsed', 'idempotency.conflict'],
  handle: async ({ deps, principal, params: { workload_id }, headers, body }) => {
    const { tenantId, tokenId } = principal;
    const { reason, bypass_dedupe: bypassDedupe } = body;
    const order: ReplayOrder = { tenantId, workloadId: workload_id, actor: `token:${tokenId}`, reason, bypassDedupe };
    const key = headers['Idempotency-Key'];
    const fingerprint = JSON.stringify([workload_id, 'replay', reason, bypassDedupe]);
    const answer = await maybeOnce(deps, { tenantId, route: `POST ${PATH}`, key, fingerprint }, async (tx) => {
      const made = await replayWithin(tx, order);
      const committed = (): void => deps.wakes.send(wakeOf(made, tenantId));
      return { status: 202, body: answerOf(made, workload_id), committed };
    });
    return { ...answer, headers: { ...answer.headers, Location: locationOf(answer.body) } };
  },
});

const answerOf = ({ workloadId: id }: Replayed, original: string): z.infer<typeof replayAnswer> => ({
  workload_id: id,
  replay_of: original,
  state: 'accepted',
  links: linksOf(id),
});

/** A repeat is answered with the text that was kept. */
function locationOf(body: unknown): string {
  const { links } = (typeof body === 'string' ? JSON.parse(body) : body) as z.infer<typeof replayAnswer>;
  return links.self;
}

/** Routes that post past events again. */
export const replayRoutes = [replayRoute];
