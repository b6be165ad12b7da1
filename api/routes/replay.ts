import { z } from 'zod';
import { workloadId } from '../../contracts/ids';
import { onceForKey } from '../../ledger/idempotency';
import { replayWithin, wakeOf, type Replayed, type ReplayOrder } from '../../ledger/replays';
import { idempotencyHeaders, operatorReason } from '../fields';
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
    if (key === undefined) {
      const replayed = await deps.db.transaction((tx) => replayWithin(tx, order));
      deps.wakes.send(wakeOf(replayed, tenantId));
      return answered(JSON.stringify(answerOf(replayed, workload_id)), false);
    }
    let made: Replayed | null = null;
    const request = {
      tenantId,
      route: `POST ${PATH}`,
      key,
      fingerprint: JSON.stringify([workload_id, 'replay', reason, bypassDedupe]),
    };
    const { answer, replayed: repeated } = await onceForKey(deps.db, request, async (tx) => {
      made = await replayWithin(tx, order);
      return { status: 202, answer: JSON.stringify(answerOf(made, workload_id)) };
    });
    if (made && !repeated) deps.wakes.send(wakeOf(made, tenantId));
    return answered(answer, repeated);
  },
});

const answerOf = ({ workloadId: id }: Replayed, original: string): z.infer<typeof replayAnswer> => ({
  workload_id: id,
  replay_of: original,
  state: 'accepted',
  links: linksOf(id),
});

function answered(body: string, repeated: boolean): { status: number; body: string; headers: Record<string, string> } {
  const { links } = JSON.parse(body) as z.infer<typeof replayAnswer>;
  return {
    status: 202,
    body,
    headers: { Location: links.self, ...(repeated && { 'Idempotent-Replayed': 'true' }) },
  };
}

/** Routes that post past events again. */
export const replayRoutes = [replayRoute];
