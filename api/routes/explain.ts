import { z } from 'zod';
import { workloadExplanation } from '../../contracts/explanation';
import { workloadId } from '../../contracts/ids';
import { Problem } from '../../contracts/problems';
import { explainWorkload } from '../../ledger/explanation';
import { route } from '../route';

const explainRoute = route({
  method: 'get',
  path: '/api/workloads/{workload_id}/explain',
  operationId: 'explainWorkload',
  tag: 'Workloads',
  summary: 'Why a workload was decided as it was',
  description:
    'Rule by rule, also for what was ignored, denied, held or a duplicate, with what came afterwards and a `summary` in plain ' +
    'sentences. The version of the policy that decided is asked again about the stored event, for its reasons only: where that ' +
    'does not give exactly what was recorded, the recorded outcomes stand alone and `recomputed` is false. Nothing of the event’s ' +
    'data is in it but the dedupe key.',
  access: { kind: 'token', scopes: ['workloads:read', 'audit:read'] },
  params: z.object({ workload_id: workloadId }),
  answers: { 200: { description: 'The explanation.', schema: workloadExplanation } },
  handle: async ({ deps, principal, params: { workload_id } }) => {
    const explanation = await explainWorkload(deps.db, deps.policies.compile, {
      tenantId: principal.tenantId,
      workloadId: workload_id,
    });
    if (!explanation) throw new Problem('not_found', 'No such workload.');
    return { status: 200, body: explanation };
  },
});

/** Routes that explain. */
export const explainRoutes = [explainRoute];
