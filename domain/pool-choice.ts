import type { Requirements } from '../contracts/requirements';
import { declaredTogether, unmet, type PoolFacts } from './eligibility';

/** A pool that work may be sent to. */
export interface PoolCandidate extends Omit<PoolFacts, 'compatibility'> {
  /** A worker that offers the executor is active in it and was heard of. */
  ready: boolean;
  /** Workloads that wait in it, up to a number from which on more make no difference. */
  queued: number;
}

/**
 * The pool for work that names none: active, serving the tenant, and declaring itself all that is required. One whose workers are
 * there goes first, then the one where fewest wait, then by id. Null when there is none.
 */
export function choosePool(
  work: { tenantId: string; requires: Requirements },
  candidates: readonly PoolCandidate[],
): string | null {
  const fit = candidates.filter(
    ({ status, tenants, region, capabilities }) =>
      status === 'active' &&
      (tenants === null || tenants.includes(work.tenantId)) &&
      unmet(work.requires, declaredTogether(capabilities), region).length === 0,
  );
  return fit.sort(byPreference)[0]?.poolId ?? null;
}

function byPreference(a: PoolCandidate, b: PoolCandidate): number {
  if (a.ready !== b.ready) return a.ready ? -1 : 1;
  if (a.queued !== b.queued) return a.queued - b.queued;
  return a.poolId < b.poolId ? -1 : 1;
}
