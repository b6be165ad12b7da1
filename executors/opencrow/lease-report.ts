import { Problem } from '../../contracts/problems';
import type { LeaseOutcome } from '../../contracts/worker-protocol';
import type { ControlPlaneClient } from '../control-plane-client';
import type { HeldLease } from './lease-folder';

/** Tells the control plane what is known of a held lease. Safe to repeat. */
export function reportLease(control: ControlPlaneClient, held: HeldLease): Promise<LeaseOutcome> {
  switch (held.phase) {
    case 'claimed':
      return control.release(held.lease, 'worker_restarted');
    case 'intended':
      return reportRestartAfterIntent(control, held);
    case 'written':
      return control.complete(held.lease, { write: 'written' });
    case 'unknown':
      return control.complete(held.lease, { write: 'unknown', detail: (held.detail ?? 'not known').slice(0, 200) });
    case 'not_delivered':
      return control.release(held.lease, held.detail ?? 'not_delivered');
  }
}

/** The process died after it decided to record an intent: the line may be written, unless the ledger has no intent. */
async function reportRestartAfterIntent(control: ControlPlaneClient, held: HeldLease): Promise<LeaseOutcome> {
  try {
    return await control.complete(held.lease, { write: 'unknown', detail: 'worker restarted' });
  } catch (error) {
    // No intent, hence no write: it only ever follows a granted intent.
    if (error instanceof Problem && error.code === 'workload.state_conflict') {
      return control.release(held.lease, 'worker_restarted');
    }
    throw error;
  }
}

/**
 * What a refused report means: `over` when the lease is closed, taken or unknown and there is nothing left to tell,
 * `wait` when it comes too fast, `later` when the refusal is about the worker (its state or credential).
 */
export function refusedReport(problem: Problem): 'over' | 'wait' | 'later' {
  if (problem.status === 429) return 'wait';
  return problem.status === 401 || problem.status === 403 ? 'later' : 'over';
}
