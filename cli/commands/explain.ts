import { PolicyCache } from '../../activities/policy-cache';
import { workloadExplanation, type WorkloadExplanation } from '../../contracts/explanation';
import { Problem } from '../../contracts/problems';
import { explainWorkload } from '../../ledger/explanation';
import type { ConfigOf } from '../config';
import { printable } from '../printable';
import { askService } from '../service-access';
import { table } from '../table';

/** `workloadd explain` */
export async function runExplain(
  config: ConfigOf<'explain'>,
  workloadId: string,
  args: { tenant?: string; json?: boolean },
): Promise<void> {
  const explanation = await askService(config, args.tenant, {
    method: 'GET',
    path: `/api/workloads/${encodeURIComponent(workloadId)}/explain`,
    answer: workloadExplanation,
    fromLedger: async (db, tenantId) => {
      const found = await explainWorkload(db, new PolicyCache().compile, { tenantId, workloadId });
      if (!found) throw new Problem('not_found', `Tenant ${tenantId} has no such workload.`);
      return found;
    },
  });
  console.log(args.json ? JSON.stringify(explanation, null, 2) : textOf(explanation));
}

function textOf({ summary, rules, afterwards, recomputed }: WorkloadExplanation): string {
  const parts = [
    summary.map(printable).join('\n'),
    ...(rules.length === 0
      ? []
      : [
          table(
            ['RULE', 'OUTCOME', recomputed ? 'WHY' : 'AS RECORDED'],
            rules.map((rule) => [rule.rule_id, rule.outcome, printable(rule.text)]),
          ),
        ]),
    ...(afterwards.length === 0
      ? []
      : [
          table(
            ['AT', 'WHAT', 'WHO', 'WHY'],
            afterwards.map(({ at, type, actor, reason }) => [at, type, actor, printable(reason ?? '-')]),
          ),
        ]),
  ];
  return parts.join('\n\n');
}
