import {
  DIFF_LIMITS,
  policyDiff,
  type PolicyChange,
  type PolicyDiff,
  type PolicySaid,
} from '../../contracts/policy-diff';
import { poolIds } from '../../ledger/policies';
import { diffPolicy } from '../../ledger/policy-diff';
import type { ConfigOf } from '../config';
import { CommandFailed, EXIT } from '../exit-codes';
import { readPolicyFile } from '../policy-check';
import { printable } from '../printable';
import { askService } from '../service-access';
import { table } from '../table';

/** Arguments of `policy diff`. */
export interface PolicyDiffArguments {
  candidate: string;
  last: string;
  maxChanges: string;
  tenant?: string;
  json?: boolean;
  failOnChange?: boolean;
}

/** `workloadd policy diff` */
export async function runPolicyDiff(config: ConfigOf<'policy diff'>, args: PolicyDiffArguments): Promise<void> {
  const last = numberOf('--last', args.last, 1, DIFF_LIMITS.last);
  const maxChanges = numberOf('--max-changes', args.maxChanges, 0, DIFF_LIMITS.changes);
  const { source } = await policyIn(args.candidate);
  const diff = await askService(config, args.tenant, {
    method: 'POST',
    path: '/api/policy/diff',
    json: { candidate: source, last, max_changes: maxChanges },
    answer: policyDiff,
    fromLedger: async (db, tenantId) => {
      const { policy } = await policyIn(args.candidate, await poolIds(db, tenantId));
      return diffPolicy(db, { tenantId, candidate: policy, last, maxChanges });
    },
  });
  console.log(args.json ? JSON.stringify(diff, null, 2) : textOf(diff));
  if (!args.failOnChange) return;
  if (diff.changed > 0) throw new CommandFailed(`${count(diff.changed, 'decision')} would change`);
  if (!diff.complete) throw new CommandFailed('not all events could be looked at in time: see --last');
}

async function policyIn(file: string, knownPools?: string[]) {
  const read = await readPolicyFile(file, knownPools ? { knownPools } : {});
  if ('policy' in read) return read;
  throw new CommandFailed(`${read.text}\n${file} is not a valid policy`);
}

function numberOf(flag: string, text: string, least: number, most: number): number {
  const value = Number(text);
  if (/^\d{1,6}$/.test(text) && value >= least && value <= most) return value;
  throw new CommandFailed(`${flag} must be a whole number from ${least} to ${most}`, EXIT.usage);
}

function textOf(diff: PolicyDiff): string {
  const { changes, by_kind, by_decision, not_judged, truncated, changed } = diff;
  const kinds = Object.entries(by_kind).sort(([, a], [, b]) => b - a);
  return [
    ...(changes.length === 0 ? [] : [table(['WORKLOAD', 'EVENT', 'CHANGES', 'FROM', 'TO'], changes.map(rowOf)), '']),
    ...(truncated ? [`… and ${changed - changes.length} more`] : []),
    `${count(changed, 'decision')} of ${count(diff.judged, 'event')} would change`,
    ...by_decision.map(({ from, to, events }) => `  ${from} → ${to}: ${events}`),
    ...(kinds.length === 0
      ? []
      : [`  by what changes: ${kinds.map(([kind, events]) => `${kind} ${events}`).join(', ')}`]),
    ...(not_judged.body_pruned === 0
      ? []
      : [`${count(not_judged.body_pruned, 'event')} could not be judged: body no longer kept`]),
    ...(not_judged.not_decided === 0 ? [] : [`${count(not_judged.not_decided, 'event')} not decided yet`]),
    ...(diff.complete ? [] : [`stopped when the time was over, at events of ${diff.oldest_at ?? 'now'}`]),
  ].join('\n');
}

const rowOf = ({ workload_id, source, event_id, changed, from, to }: PolicyChange): string[] => [
  workload_id,
  printable(`${source} ${event_id}`).slice(0, 60),
  changed.join(','),
  saidText(from, changed),
  saidText(to, changed),
];

/** Decision and rule, and whatever else differs and is short. */
function saidText(said: PolicySaid, changed: readonly string[]): string {
  const more = (['reason', 'dedupe_key', 'pool', 'executor', 'priority'] as const)
    .filter((name) => changed.includes(name) && said[name] !== null)
    .map((name) => `${name}=${printable(String(said[name])).slice(0, 60)}`);
  return [`${said.decision} (${said.rule_id ?? 'default'})`, ...more].join(' ');
}

const count = (number: number, thing: string): string => `${number} ${number === 1 ? thing : `${thing}s`}`;
