/**
 * What `verify` can find, by stable code. A disagreement: two records of the same thing contradict each other. A notice: the
 * records agree, and what they say deserves a look.
 */
export const FINDINGS = {
  'chain.row_changed': 'disagreement',
  'chain.row_missing': 'disagreement',
  'chain.rows_missing': 'disagreement',
  'chain.out_of_order': 'disagreement',
  'chain.unsealed': 'disagreement',
  'chain.unsealed_rows': 'notice',
  'anchor.mismatch': 'disagreement',
  'anchor.beyond_end': 'disagreement',
  'anchor.not_covered': 'notice',
  'anchor.none': 'notice',
  'archive.gap': 'disagreement',
  'archive.file_missing': 'disagreement',
  'archive.file_changed': 'disagreement',
  'archive.not_removed': 'notice',
  'archive.not_checked': 'notice',
  'file.malformed': 'disagreement',
  'file.truncated': 'disagreement',
  'file.incomplete': 'disagreement',
  'file.trailer_mismatch': 'disagreement',
  'ledger.state_mismatch': 'disagreement',
  'ledger.timeline_broken': 'disagreement',
  'ledger.accepted_missing': 'disagreement',
  'ledger.closed_mismatch': 'disagreement',
  'ledger.event_missing': 'disagreement',
  'ledger.unknown_workload': 'disagreement',
  'ledger.decision_missing': 'disagreement',
  'ledger.decision_mismatch': 'disagreement',
  'ledger.delivery_missing': 'disagreement',
  'ledger.delivery_unexplained': 'disagreement',
  'ledger.delivery_count_mismatch': 'disagreement',
  'ledger.lease_open_after_end': 'disagreement',
  'ledger.lease_without_delivery': 'disagreement',
  'ledger.lease_epoch_mismatch': 'disagreement',
  'ledger.lease_overdue': 'disagreement',
  'ledger.execution_mismatch': 'disagreement',
  'ledger.execution_missing': 'disagreement',
  'ledger.claim_mismatch': 'disagreement',
  'ledger.claim_missing': 'disagreement',
  'ledger.place_missing': 'disagreement',
  'ledger.deadline_overdue': 'disagreement',
  'ledger.wake_unsent': 'disagreement',
  'lifecycle.deadline_overdue': 'disagreement',
  'lifecycle.effect_missing': 'disagreement',
  'lifecycle.evidence_missing': 'disagreement',
  'lifecycle.double_execution_unmarked': 'disagreement',
  'lifecycle.double_execution': 'notice',
  'lifecycle.after_end': 'notice',
  'lifecycle.mismatch': 'notice',
  'lifecycle.unknown_delivery': 'notice',
  'temporal.run_missing': 'disagreement',
  'temporal.run_open_after_end': 'disagreement',
  'temporal.unknown_workload': 'disagreement',
  'temporal.result_mismatch': 'disagreement',
  'temporal.unreachable': 'disagreement',
} as const satisfies Record<string, 'disagreement' | 'notice'>;

export type FindingCode = keyof typeof FINDINGS;

/** One thing found, and where. */
export interface Finding {
  code: FindingCode;
  /** A sentence for people, with the facts in it. */
  message: string;
  chain?: string;
  position?: number;
  seq?: string;
  workload_id?: string;
  file?: string;
  /** Of the file, from 1. */
  line?: number;
}

/** Takes what is found. */
export type Report = (finding: Finding) => void;
