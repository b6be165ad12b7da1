import type { PoolQuota, Quota, TenantQuota } from '../contracts/quotas';
import { exceeded, refusalOf, type Standing } from '../domain/quotas';
import type { Queryable } from './database';
import { noteDenial } from './denials';
import type { Entered } from './enter-lanes';
import { charge, lockQuotas, standingsOf } from './quota-standings';
import type { WorkloadRow } from './workload-row';

const TENANT_LIMITS = ['dispatches_per_hour'] as const satisfies readonly TenantQuota[];
const POOL_LIMITS = ['queued_work', 'queue_age'] as const satisfies readonly PoolQuota[];

/** SQL: whether any limit may count at the admission of a workload of tenant `t`. */
export const ADMISSION_IS_LIMITED = `
  EXISTS (SELECT 1 FROM quotas WHERE scope = 'pool' AND quota IN ('queued_work', 'queue_age'))
  OR EXISTS (SELECT 1 FROM quotas WHERE scope = 'tenant' AND scope_id = t.tenant_id AND quota = 'dispatches_per_hour')`;

/** Why a workload ends `refused` that policy sends to a pool. */
const REASONS: Partial<Record<Quota, string>> = {
  queued_work: 'quota_queue_depth',
  queue_age: 'quota_queue_age',
  dispatches_per_hour: 'quota_dispatches',
};

/** What became of a workload at its lanes, and why it is refused in spite of its decision. */
export interface Admitted extends Entered {
  refusal: { reason: string; detail: Record<string, unknown> } | null;
}

/**
 * Lets a workload into its lanes (`enter`), and charges its dispatch to its tenant and pool. Where there is no room it has no place
 * in the lanes; which they are is kept for an operator who has it handed over after all. What an operator replays is counted and
 * not refused.
 */
export async function enterWithinLimits(
  tx: Queryable,
  row: WorkloadRow,
  poolId: string | null,
  enter: () => Promise<Entered>,
): Promise<Admitted> {
  await tx.query('SAVEPOINT lanes');
  const entered = await enter();
  if (entered.decision !== 'dispatch') return { ...entered, refusal: null };
  const asked = { tenantId: row.tenant_id, tenantQuotas: TENANT_LIMITS, poolId, poolQuotas: POOL_LIMITS };
  await lockQuotas(tx, asked);
  const standings = await standingsOf(tx, asked);
  const full = exceeded(standings);
  if (full === null || (await isReplay(tx, row))) {
    await charge(tx, standings);
    return { ...entered, refusal: null };
  }
  await tx.query('ROLLBACK TO SAVEPOINT lanes');
  return { ...entered, gate: null, refusal: await refuse(tx, row, full) };
}

async function isReplay(tx: Queryable, row: WorkloadRow): Promise<boolean> {
  return (await tx.query('SELECT 1 FROM replays WHERE workload_id = $1', [row.workload_id])).length > 0;
}

async function refuse(tx: Queryable, row: WorkloadRow, full: Standing): Promise<Admitted['refusal']> {
  const { scope, quota, limit, used } = full;
  await noteDenial(tx, { tenantId: row.tenant_id, actor: 'policy', workId: row.workload_id }, refusalOf(full));
  return { reason: REASONS[quota] ?? 'quota', detail: { scope, quota, limit, used } };
}
