import type { ExecutionEnvelope, ExecutionStatus } from '../../contracts/execution';
import type { WorkloadState } from '../../contracts/terminology';
import { envelopeOf, type ViaRecord } from './via-record';

/** What became of a command that went through a service. */
export interface Verdict {
  status: ExecutionStatus;
  /** Null when it left none, since no worker came to it or nobody knows. */
  envelope: ExecutionEnvelope | null;
  /** Why; a sentence or two for people, with the next step. */
  reason: string;
  workloadId: string | null;
  mayHaveRun: boolean;
}

const STATUS: Partial<Record<WorkloadState, ExecutionStatus>> = { completed: 'completed', failed: 'failed' };

/** Of a workload that is over, held, or not waited for any more. */
export function verdictOf(record: ViaRecord): Verdict {
  const { state, delivery } = record;
  return {
    status: STATUS[state] ?? 'refused',
    envelope: envelopeOf(record),
    reason: `${record.workload_id} ${storyOf(record)}`,
    workloadId: record.workload_id,
    mayHaveRun: state === 'cancelled' ? delivery > 0 : !NOT_RUN.includes(state),
  };
}

/** States in which it is certain that the command has not been started. */
const NOT_RUN: readonly WorkloadState[] = [
  'accepted',
  'held',
  'queued',
  'duplicate',
  'ignored',
  'denied',
  'refused',
  'dead',
];

function storyOf(record: ViaRecord): string {
  const { state, reason, workload_id: id, rule_id, pool_id, executor, may_still_run, decision } = record;
  const rule = rule_id === null ? 'the policy' : `rule ${rule_id}`;
  switch (state) {
    case 'ignored':
      return rule_id === null
        ? `is ignored: no rule dispatches it (${reason}). \`workloadd explain ${id}\` tells why.`
        : `is ignored by ${rule} (${reason}).`;
    case 'denied':
      return `is denied by ${rule} (${reason}).`;
    case 'duplicate':
      return `is a duplicate: ${decision?.duplicate_of ?? 'another workload'} has its dedupe key.`;
    case 'held':
      return `is held by ${rule} for approval: POST /api/workloads/${id}/approve or …/deny. Approved, it runs without this command.`;
    case 'refused':
      return reason === 'queue_deadline'
        ? `is refused: no worker of pool ${pool_id} took it in time. \`workloadd workers list\` tells who offers ${executor}.`
        : `is refused (${reason}).`;
    case 'dead':
      return `was given up (${reason}).`;
    case 'cancelled':
      return may_still_run ? `was cancelled (${reason}), and may still run.` : `was cancelled (${reason}).`;
    case 'lost':
      return `is lost (${reason}): the command may have run. Look at its target before you run it again.`;
    case 'accepted':
    case 'queued':
    case 'delivered':
    case 'running':
    case 'preempted':
      return `is ${state} (${reason}) and goes on without this command.`;
    case 'completed':
    case 'failed':
    case 'aborted':
    case 'dropped':
      return `is ${state} (${reason}).`;
  }
}
