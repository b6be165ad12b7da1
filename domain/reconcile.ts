import type { ExecutionEnvelope, ExecutionHandle } from '../contracts/execution';
import type { Decision, ExecutorKind, WorkloadState } from '../contracts/terminology';
import { livesByItsLease, WORKLOAD_STATES } from '../contracts/terminology';
import { isResumable } from './execution/command-lease';
import { evidenceDigest } from './execution/reported-end';
import type { FindingCode, Report } from './finding';
import { CLOSING } from './workload-moves';
import { isAwaitingExecutor } from './workload-state';

/** All that the ledger says of one workload, of one moment. */
export interface LedgerStory {
  workload_id: string;
  state: WorkloadState;
  closed: boolean;
  delivery: number;
  double_execution: boolean;
  has_event: boolean;
  /** Seconds that its deadline is over; negative before it, null without one. */
  overdue_seconds: number | null;
  /** Seconds that its workflow was not told of a fact; null when it was. */
  unsent_seconds: number | null;
  /** Rows of its tenant were archived, so its own may begin in a file. */
  archived: boolean;
  decision: {
    decision: Decision;
    rule_id: string | null;
    policy_hash: string | null;
    dedupe_key: string | null;
    /** Its dedupe key is one that it need not hold: it stands in line for it, or is a replay that went on without it. */
    unclaimed: boolean;
  } | null;
  executor: ExecutorKind | null;
  deliveries: {
    number: number;
    write: string;
    ended_at: string | null;
    /** JSON text of what is known of its target, and of its execution envelope. */
    target: string | null;
    execution: string | null;
  }[];
  lease: {
    epoch: number;
    delivery: number | null;
    open: boolean;
    /** Seconds since it ran out; negative before. */
    over_seconds: number;
  } | null;
  claims: { open: boolean }[];
  /** Gates whose room it needs while an executor has it, and in whose lane it has none. */
  gates_not_held: string[];
  lifecycle: { event_id: string; delivery_number: number; status: string; effect: string; received_at: string }[];
  audit: { seq: string; type: string; detail: Record<string, unknown> }[];
}

/** Longer than any process needs to act on a deadline or to tell Temporal. */
const LATE_SECONDS = 300;
const STATE_OF: Partial<Record<Decision, WorkloadState>> = {
  ignore: 'ignored',
  deny: 'denied',
  duplicate: 'duplicate',
};

type Tell = (code: FindingCode, message: string) => void;

/** Compares what the parts of the ledger say of one workload. */
export function reconcile(story: LedgerStory, report: Report): void {
  const tell: Tell = (code, message) => report({ code, message, workload_id: story.workload_id });
  if (!story.has_event) tell('ledger.event_missing', 'it has no event');
  replay(story, tell);
  decision(story, tell);
  deliveries(story, tell);
  executions(story, tell);
  holdings(story, tell);
  lifecycle(story, tell);
  clocks(story, tell);
}

const stateOf = (type: string): WorkloadState | null => {
  const name = /^workload\.(\w+)$/.exec(type)?.[1];
  return WORKLOAD_STATES.find((state) => state === name) ?? null;
};

/** The audit's steps, one after the other, must lead to the state there is. */
function replay({ state, closed, audit, archived }: LedgerStory, tell: Tell): void {
  let now: WorkloadState | null = null;
  for (const { seq, type, detail } of audit) {
    const next = type === 'event.accepted' ? 'accepted' : stateOf(type);
    if (next === null) continue;
    const from = detail['from'];
    if (next !== 'accepted' && now === null && !archived)
      tell('ledger.accepted_missing', `its audit begins with ${type} (seq ${seq}) and not with its event`);
    if (now !== null && typeof from === 'string' && from !== now)
      tell(
        'ledger.timeline_broken',
        `the audit goes from ${now} to ${next} at seq ${seq}, which says it came from ${from}`,
      );
    now = next;
  }
  if (now === null && !archived) tell('ledger.accepted_missing', 'its audit does not have its event');
  if (now !== null && now !== state) tell('ledger.state_mismatch', `it is ${state}, and its audit leads to ${now}`);
  if (state !== 'lost' && CLOSING.includes(state) !== closed)
    tell('ledger.closed_mismatch', `it is ${state} and ${closed ? 'closed' : 'not closed'}`);
}

function decision({ audit, decision: made }: LedgerStory, tell: Tell): void {
  const noted = audit.find(({ detail }) => typeof detail['decision'] === 'string' && 'policy_hash' in detail);
  if (!noted) return;
  if (!made) {
    tell('ledger.decision_missing', `the audit has a decision (seq ${noted.seq}) and the ledger has none`);
    return;
  }
  const said = [noted.detail['decision'], noted.detail['rule'], noted.detail['policy_hash']];
  const kept = [made.decision, made.rule_id, made.policy_hash];
  if (said.some((each, index) => (each ?? null) !== kept[index]))
    tell('ledger.decision_mismatch', `the decision says ${kept.join(', ')} and the audit ${said.join(', ')}`);
  const state = STATE_OF[made.decision];
  if (state !== undefined && stateOf(noted.type) !== state)
    tell('ledger.decision_mismatch', `the decision is ${made.decision} and the audit notes it with ${noted.type}`);
}

function deliveries({ audit, deliveries: rows, delivery, archived }: LedgerStory, tell: Tell): void {
  const intended = new Set<number>();
  for (const { type, detail } of audit) if (type === 'workload.delivered') intended.add(Number(detail['delivery']));
  const kept = new Set(rows.map(({ number }) => number));
  for (const number of intended)
    if (!kept.has(number)) tell('ledger.delivery_missing', `the audit has delivery ${number} and the ledger has not`);
  for (const number of kept)
    if (!intended.has(number) && !archived)
      tell('ledger.delivery_unexplained', `the ledger has delivery ${number} and the audit has not`);
  const made = rows.filter(({ write }) => write !== 'not_written').map(({ number }) => number);
  const last = Math.max(0, ...made);
  // Version 0.1.0 kept a number that was given back after the workload had gone on without the delivery.
  if (delivery < last || delivery > Math.max(0, ...kept))
    tell('ledger.delivery_count_mismatch', `it counts ${delivery} deliveries and there are ${last}`);
}

/** How each command ended is in the audit too, as the digest of its evidence. */
function executions({ audit, deliveries: rows, archived }: LedgerStory, tell: Tell): void {
  const noted = new Map<number, unknown>();
  for (const { detail } of audit)
    if ('evidence_sha256' in detail) noted.set(Number(detail['delivery']), detail['evidence_sha256']);
  for (const { number, execution } of rows) {
    const digest = execution === null ? null : digestOf(execution);
    if (digest === null ? noted.has(number) : !noted.has(number) && !archived)
      tell(
        'ledger.execution_missing',
        digest === null
          ? `the audit has the end of delivery ${number} and the ledger no envelope of it`
          : `the ledger has an envelope of delivery ${number} and the audit has not`,
      );
    else if (digest !== null && noted.has(number) && noted.get(number) !== digest)
      tell('ledger.execution_mismatch', `the evidence of delivery ${number} is not what the audit noted`);
  }
}

/** What is kept may be anything when somebody was at it. */
function digestOf(execution: string): string {
  try {
    return evidenceDigest(JSON.parse(execution) as ExecutionEnvelope);
  } catch {
    return 'unreadable';
  }
}

function readTarget(text: string): ExecutionHandle | null {
  try {
    return JSON.parse(text) as ExecutionHandle;
  } catch {
    return null;
  }
}

function holdings(story: LedgerStory, tell: Tell): void {
  const { lease, closed, claims, audit, archived, decision: made, state } = story;
  if (lease?.open && closed)
    tell('ledger.lease_open_after_end', `it has ended and its lease (epoch ${lease.epoch}) is open`);
  if (lease?.delivery != null && !story.deliveries.some(({ number }) => number === lease.delivery))
    tell('ledger.lease_without_delivery', `its lease is for delivery ${lease.delivery}, which is not there`);
  const target = story.deliveries.find(({ number }) => number === lease?.delivery)?.target ?? null;
  const resumable = isResumable(story.executor, target === null ? null : readTarget(target));
  if (lease?.open && livesByItsLease(story.executor) && isAwaitingExecutor(state) && !resumable)
    if (lease.over_seconds > LATE_SECONDS)
      tell(
        'ledger.lease_overdue',
        `it is ${state}, and nobody renews its lease since ${Math.round(lease.over_seconds)} s`,
      );
  const epochs = audit.filter(({ type }) => type === 'lease.claimed').map(({ detail }) => Number(detail['epoch']));
  if (lease && !archived && Math.max(0, ...epochs) !== lease.epoch)
    tell(
      'ledger.lease_epoch_mismatch',
      `its lease has epoch ${lease.epoch} and the audit ends with ${Math.max(0, ...epochs)}`,
    );
  for (const claim of claims)
    if (claim.open === closed)
      tell(
        'ledger.claim_mismatch',
        `it is ${closed ? 'closed' : 'open'} and its dedupe claim is ${claim.open ? 'open' : 'not'}`,
      );
  const needsClaim = made?.decision === 'dispatch' && made.dedupe_key !== null && !made.unclaimed;
  if (needsClaim && isAwaitingExecutor(state) && claims.length === 0)
    tell('ledger.claim_missing', `it is ${state} and nothing holds its dedupe key`);
  if (isAwaitingExecutor(state))
    for (const gate of story.gates_not_held)
      tell('ledger.place_missing', `it is ${state} and has no place in the lane of its gate ${gate}`);
}

const APPLIED = ['applied', 'corrected'];

function lifecycle(story: LedgerStory, tell: Tell): void {
  const noted = new Set<unknown>();
  for (const { type, detail } of story.audit) if (stateOf(type)) noted.add(detail['event']);
  for (const each of story.lifecycle) {
    const what = `${each.status} of delivery ${each.delivery_number}`;
    if (APPLIED.includes(each.effect) && !noted.has(each.event_id) && !story.archived)
      tell('lifecycle.effect_missing', `${what} was ${each.effect}, and the audit has no such step`);
    if (each.effect === 'double_execution') {
      tell('lifecycle.double_execution', `${what} came though that was over: it was executed twice`);
      if (!story.double_execution)
        tell('lifecycle.double_execution_unmarked', `${what} shows it, and its record does not say so`);
    }
    if (each.effect === 'unknown_delivery')
      tell('lifecycle.unknown_delivery', `${what} was reported, which was never made`);
    if (each.effect === 'mismatch')
      tell('lifecycle.mismatch', `${what} was reported by somebody it was not given to, or of something else`);
    const ended = story.deliveries.find(({ number }) => number === each.delivery_number)?.ended_at;
    const after =
      each.effect === 'too_late' || (each.effect === 'recorded' && ended != null && each.received_at > ended);
    if (after) tell('lifecycle.after_end', `${what} came after its end`);
  }
  const reported = new Set(story.lifecycle.map(({ event_id }) => event_id));
  for (const { seq, type, detail } of story.audit)
    if (stateOf(type) && typeof detail['event'] === 'string' && !reported.has(detail['event']))
      tell('lifecycle.evidence_missing', `${type} (seq ${seq}) rests on a lifecycle event that is not there`);
}

function clocks({ closed, state, overdue_seconds: overdue, unsent_seconds: unsent }: LedgerStory, tell: Tell): void {
  if (!closed && overdue !== null && overdue > LATE_SECONDS)
    tell(
      isAwaitingExecutor(state) ? 'lifecycle.deadline_overdue' : 'ledger.deadline_overdue',
      `it is ${state}, and its deadline is over since ${Math.round(overdue)} s`,
    );
  if (unsent !== null && unsent > LATE_SECONDS)
    tell('ledger.wake_unsent', `its workflow was not told of a fact for ${Math.round(unsent)} s`);
}
