import type { Problem } from '../contracts/problems';
import { CLAIM_REFUSALS } from '../contracts/worker-protocol';

/** What a worker does about a refused claim or intent. `again` starts over with a new claim. */
export type RefusalAction = 'wait' | 'again' | 'hand_back' | 'done';

/** Refusals that are about this worker and not about the workload: it should stop taking tasks. */
const WORKER_CANNOT_WORK = new Set<string>([
  'worker.pending',
  'worker.draining',
  'worker.paused',
  'worker.unhealthy',
  'worker.retired',
  'worker.revoked',
  'worker.wrong_pool',
  'pool.not_active',
  'auth.required',
  'auth.scope_required',
]);

/** A refusal that the table does not name is handed back: somebody else may know what to do with it. */
export function refusedClaim(problem: Problem): RefusalAction {
  return (CLAIM_REFUSALS as Record<string, 'wait' | 'hand_back' | 'done'>)[problem.code] ?? otherRefusal(problem);
}

/** An intent is refused like a claim, but a lease that ran out or was taken is no reason to give the task away. */
export function refusedIntent(problem: Problem): RefusalAction {
  const action = problem.code === 'lease.stale' ? 'again' : refusedClaim(problem);
  return action === 'wait' ? 'again' : action;
}

export function stopsPolling(problem: Problem): boolean {
  return WORKER_CANNOT_WORK.has(problem.code);
}

/** Everything that says "later" without saying why (a rate limit) is waited for. */
function otherRefusal(problem: Problem): RefusalAction {
  return problem.status === 429 ? 'wait' : 'hand_back';
}
