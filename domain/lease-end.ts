import type { LeaseStatus } from '../contracts/terminology';
import type { Fact, Transition } from './workload-progress';

/**
 * How the lease of a workload ends by a fact that takes the workload out of its holder's hands. (One that had run out before its
 * intent is `expired` all the same; whoever writes it down sees that.)
 */
export function leaseEndOf(fact: Fact, { path }: Pick<Transition, 'path'>): Exclude<LeaseStatus, 'held'> {
  switch (fact.type) {
    case 'not_delivered':
      return 'released';
    case 'lease_expired':
    case 'deadline':
      return 'expired';
    case 'attempt_failed':
    case 'undeliverable':
      return 'failed';
    case 'executed':
      // Its worker's word that it stopped what it was to stop.
      return fact.outcome === 'aborted' ? 'cancelled' : endOfState(path[0]);
    default:
      return endOfState(path[0]);
  }
}

function endOfState(state: Transition['path'][number] | undefined): Exclude<LeaseStatus, 'held'> {
  switch (state) {
    case 'completed':
      return 'completed';
    case 'failed':
    case 'aborted':
    case 'dropped':
    case 'refused':
    case 'lost':
    case 'dead':
      return 'failed';
    default:
      return 'cancelled';
  }
}
