import { Problem } from '../contracts/problems';
import type { Quota, QuotaScope } from '../contracts/quotas';

/** Where a limit stands, by the ledger's clock. */
export interface Standing {
  scope: QuotaScope;
  scopeId: string;
  quota: Quota;
  limit: number;
  /** Units, or seconds of `queue_age`. */
  used: number;
  /** When the window ends; null for quotas without one. */
  resetAt: Date | null;
  /** Milliseconds until then. */
  resetMs: number | null;
}

/** What waits is looked at again after this time, milliseconds: nobody knows when there is room. */
const LOOK_AGAIN_MS = 5_000;

const isExceeded = ({ quota, limit, used }: Standing): boolean =>
  quota === 'queue_age' ? used > limit : used >= limit;

/** Of the limits that leave no room for one more the one that lasts longest; null when all do. */
export function exceeded(standings: readonly Standing[]): Standing | null {
  const full = standings.filter(isExceeded);
  return full.reduce<Standing | null>((worst, each) => (worst && waitOf(worst) >= waitOf(each) ? worst : each), null);
}

const waitOf = ({ resetMs }: Standing): number => resetMs ?? LOOK_AGAIN_MS;

/** What a caller is told of it: `capacity.tenant` for work held at once, `quota.exceeded` for everything else. */
export function refusalOf(standing: Standing): Problem {
  const { scope, quota, limit, used, resetAt } = standing;
  const stands = quota === 'queue_age' ? `waits for ${used} s, more than ${limit} s` : `stands at ${used} of ${limit}`;
  return new Problem(
    quota === 'concurrent_work' ? 'capacity.tenant' : 'quota.exceeded',
    `The ${scope}'s ${quota} ${stands}.`,
    {
      retryAfterMs: waitOf(standing),
      extra: { scope, quota, limit, used, reset_at: resetAt?.toISOString() ?? null },
    },
  );
}
