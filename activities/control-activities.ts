import type { ControlActivities } from '../contracts/workflow';
import { debugPoint } from '../domain/debug-point';
import { admit } from '../ledger/admission';
import type { Database } from '../ledger/database';
import { settle } from '../ledger/settlement';
import { PolicyCache } from './policy-cache';

export interface ControlActivityOptions {
  db: Database;
  /** First wait before a suspect slot is probed, milliseconds. */
  suspectBackoffMs: number;
}

/** The control worker's activities: each is one short ledger transaction, safe to run again at any time. */
export function createControlActivities({ db, suspectBackoffMs }: ControlActivityOptions): ControlActivities {
  const policies = new PolicyCache();
  return {
    async admit(workloadId) {
      const view = await admit(db, policies.evaluate, workloadId);
      debugPoint('admit-committed');
      return view;
    },
    settle: (workloadId) => settle(db, workloadId, suspectBackoffMs),
  };
}
