import type { WorkloadExplanation } from '../contracts/explanation';
import type { RuleSnapshot } from '../contracts/policy';
import { declaredTogether, unmet } from './eligibility';

type Facts = Omit<WorkloadExplanation, 'summary'>;

/** An explanation in plain sentences, in the order of what happened. */
export function summarize(facts: Facts): string[] {
  return [
    ...origin(facts),
    ...decision(facts),
    ...dedupe(facts),
    ...command(facts),
    ...facts.grants.map(grant),
    ...people(facts),
    outcome(facts),
    ...poolless(facts),
    ...claimants(facts),
    ...facts.replays.map(
      (replay) => `It was posted again as ${replay.workload_id} by ${replay.actor} at ${replay.at}: ${replay.reason}`,
    ),
  ];
}

function origin({ event, replay_of: original }: Facts): string[] {
  const subject = event.subject === null ? '' : ` about ${event.subject}`;
  return [
    `Event ${event.event_id} of source ${event.source} (${event.action})${subject} was received at ${event.received_at}.`,
    ...(original
      ? [`It is a replay of ${original.workload_id}, asked for by ${original.actor}: ${original.reason}`]
      : []),
  ];
}

const NOT_RECOMPUTED: Record<NonNullable<Facts['not_recomputed_because']>, string | null> = {
  not_decided: null,
  body_pruned: 'The event’s body is no longer kept, so only the recorded outcome of each rule is known.',
  policy_unreadable:
    'The stored policy cannot be read by this version, so only the recorded outcome of each rule is known.',
  recomputation_differs:
    'This version of the service would not decide the same way from the same policy and event; the recorded outcome stands.',
};

function decision({ decision: decided, policy, rules, not_recomputed_because }: Facts): string[] {
  if (!decided) return ['It is not decided yet.'];
  if (!policy) return ['The tenant had no policy, and without one every event is ignored.'];
  const version = `Policy version ${policy.version} (${policy.policy_hash.slice(0, 12)}…)`;
  const said = decided.policy_said;
  const before = rules.filter(({ outcome }) => outcome === 'not_matched').length;
  const failed = rules.filter(({ outcome }) => outcome === 'error').length;
  const note = not_recomputed_because && NOT_RECOMPUTED[not_recomputed_because];
  const words = decided.decision !== said ? '' : `, for the reason ${decided.reason}`;
  return [
    decided.rule_id === null
      ? `${version} said ${said} by its default: no rule matched${words}.`
      : `${version} said ${said} by rule ${decided.rule_id}${words}.`,
    ...(before + failed === 0 ? [] : [`Before that, ${countOf(before, failed)}.`]),
    ...(note === null ? [] : [note]),
    ...(decided.decision === 'deny' && said !== 'deny'
      ? [`It was denied all the same, for the reason ${decided.reason}.`]
      : []),
  ];
}

function countOf(before: number, failed: number): string {
  const rules = (count: number): string => `${count} ${count === 1 ? 'rule' : 'rules'}`;
  const parts = [
    ...(before === 0 ? [] : [`${rules(before)} did not match`]),
    ...(failed === 0 ? [] : [`${rules(failed)} could not be evaluated and so did not match`]),
  ];
  return parts.join(', ');
}

function dedupe({ dedupe: claim }: Facts): string[] {
  if (!claim) return [];
  const key = `dedupe key ${JSON.stringify(claim.key)}`;
  const holder = claim.held_by && `${claim.held_by.workload_id} (${claim.held_by.state} now)`;
  switch (claim.outcome) {
    case 'claimed':
      return [`It took the ${key}.`];
    case 'held':
      return [`The ${key} was held by ${holder ?? 'another workload'}, so it is a duplicate.`];
    case 'bypassed':
      return [
        `The ${key} was held by ${holder ?? 'another workload'}; the replay went on without it, as it was asked to.`,
      ];
  }
}

function command({ run }: Facts): string[] {
  if (!run) return [];
  const argv = JSON.stringify([run.command, ...run.args]);
  const shown = argv.length > 300 ? `${argv.slice(0, 300)}…` : argv;
  const target = run.image ?? run.endpoint;
  return [
    `Its command is ${shown}${target === null ? '' : ` at ${target}`}, under the sandbox profile ${run.sandbox}.`,
  ];
}

function grant({ hook, kind, operations, literals, globs, max_uses }: Facts['grants'][number]): string {
  const resources = [...literals, ...globs.map((glob) => `${glob} (pattern)`)].join(', ');
  return `Each delivery may use the ${kind} hook ${hook} for ${operations.join(', ')} on ${resources}, ${max_uses} times at most.`;
}

/** What people did, in their own words. */
const people = ({ afterwards }: Facts): string[] =>
  afterwards
    .filter(({ actor, type }) => type !== 'workload.replayed' && (actor.startsWith('token:') || actor === 'cli'))
    .map(({ at, type, actor, reason }) => `At ${at} ${actor} ${deed(type)}${reason === null ? '.' : `: ${reason}`}`);

const deed = (type: string): string =>
  type === 'capability.revoked'
    ? 'revoked its capabilities'
    : `made it ${type.replace(/^workload\./, '').replaceAll('_', ' ')}`;

function outcome({ outcome: now, decision: decided }: Facts): string {
  const deliveries =
    now.deliveries === 0 ? '' : `, after ${now.deliveries} ${now.deliveries === 1 ? 'delivery' : 'deliveries'}`;
  const notes = [
    ...(now.corrected ? ['corrected by a late report'] : []),
    ...(now.double_execution ? ['two deliveries were seen at work'] : []),
    ...(now.may_still_run ? ['it may still run'] : []),
  ];
  const tail = notes.length === 0 ? '' : ` (${notes.join('; ')})`;
  const verb = now.ended_at === null ? 'It is' : 'It ended as';
  const when = now.ended_at === null ? '' : ` at ${now.ended_at}`;
  const reason = decided && now.reason === decided.reason ? '' : `, for the reason ${now.reason}`;
  return `${verb} ${now.state}${when}${deliveries}${reason}${tail}.`;
}

/** What no pool declared, and what to do about it. */
function poolless({ outcome: now, rule }: Facts): string[] {
  if (now.reason !== 'no_pool') return [];
  const { requires } = (rule as RuleSnapshot | null)?.to ?? {};
  const needs = unmet(requires ?? null, declaredTogether(), null).join(', ');
  return [`No active pool that serves the tenant declares what it requires: ${needs}. When one does, redeliver it.`];
}

/** Why nobody has claimed it. */
function claimants({ claimants: now }: Facts): string[] {
  if (!now) return [];
  const { pool_status: pool, workers, eligible, because } = now;
  if (pool !== 'active') return [`Nobody can claim it: its pool is ${pool}.`];
  if (workers === 0) return ['Nobody can claim it: its pool has no active worker that was heard of within a minute.'];
  if (eligible > 0) return [`${eligible} of ${workers} active ${workers === 1 ? 'worker' : 'workers'} may claim it.`];
  return [
    `Nobody can claim it: of ${workers} active ${workers === 1 ? 'worker' : 'workers'} each ${because.join(', or ')}.`,
  ];
}
