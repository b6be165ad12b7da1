import { Problem, type ProblemCode } from '../contracts/problems';
import type { Database, Queryable } from './database';

/**
 * Refusals for want of room, a limit or an entitlement, and how the audit calls them. A worker that has its hands full
 * (`capacity.worker`) is none: it asks again as a matter of course.
 */
const DENIALS: Partial<Record<ProblemCode, string>> = {
  'quota.exceeded': 'quota.denied',
  'capacity.tenant': 'capacity.denied',
  'capacity.pool': 'capacity.denied',
  'capacity.pool_workers': 'capacity.denied',
  'entitlement.lapsed': 'entitlement.denied',
};

/** Whether a problem is such a refusal. */
export const isDenial = (code: string): boolean => code in DENIALS;

/** Tells the audit of a refusal, at most once a minute for each tenant and code; of other problems nothing. */
export async function noteDenial(
  db: Queryable,
  { tenantId, actor, workId }: { tenantId: string; actor: string; workId?: string },
  { code, extra }: Problem,
): Promise<void> {
  const type = DENIALS[code];
  if (type === undefined) return;
  await db.query(
    `WITH due AS (
       INSERT INTO quota_denials AS d (tenant_id, code)
       SELECT $1, $2 WHERE NOT EXISTS (
         SELECT 1 FROM quota_denials WHERE tenant_id = $1 AND code = $2 AND noted_at > clock_timestamp() - interval '1 minute')
       ON CONFLICT (tenant_id, code) DO UPDATE SET noted_at = excluded.noted_at
       WHERE d.noted_at <= clock_timestamp() - interval '1 minute' RETURNING 1
     )
     INSERT INTO audit (tenant_id, type, actor, detail) SELECT $1, $3, $4, $5::jsonb FROM due`,
    [tenantId, code, type, actor, JSON.stringify({ code, ...extra, ...(workId !== undefined && { work_id: workId }) })],
  );
}

/** Does work whose refusal takes back all it did, and tells the audit of it. */
export async function notingDenials<T>(
  db: Database,
  who: { tenantId: string; actor: string },
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Problem) await noteDenial(db, who, error);
    throw error;
  }
}
