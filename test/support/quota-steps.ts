import type { Limits } from '../../contracts/quotas';
import { quotasOf, setQuotas } from '../../ledger/quotas';
import type { WorkerPrincipal } from '../../ledger/workers';
import { race, type FreshLedger } from './fresh-ledger';

/** Who sets the limits of tests, and why. */
export const why = { actor: 'test', reason: 'because' };

/** What tests of quotas do with a ledger, which may be opened later. */
export function quotaSteps(ledgerOf: () => FreshLedger) {
  /** A tenant of its own with these limits. */
  async function limited(limits: Limits): Promise<string> {
    const tenant = await ledgerOf().tenant();
    await limit(tenant, limits);
    return tenant;
  }
  const limit = (tenant: string, limits: Limits) =>
    setQuotas(ledgerOf().db, { scope: 'tenant', id: tenant }, () => limits, why);
  const limitPool = (pool: string, limits: Limits) =>
    setQuotas(ledgerOf().db, { scope: 'pool', id: pool }, () => limits, why);

  async function used(tenant: string, quota: string): Promise<number | undefined> {
    const { standings } = await quotasOf(ledgerOf().db, { scope: 'tenant', id: tenant });
    return standings.find((each) => each.quota === quota)?.used;
  }

  /** Moves everything that was counted to where it was an hour ago. */
  async function anHourLater(): Promise<void> {
    await ledgerOf().db.query("UPDATE quota_use SET window_at = window_at - interval '1 hour'");
  }

  /** Keeps a test's counting within one window: near the end of one it waits for the next. */
  async function earlyInTheMinute(): Promise<void> {
    await ledgerOf().db.query(
      `SELECT pg_sleep(CASE WHEN rest < 8 THEN rest + 0.05 ELSE 0 END)
       FROM (SELECT 60 - extract(epoch FROM clock_timestamp())::numeric % 60 AS rest) clock`,
    );
  }

  const audited = async (tenant: string, type: string): Promise<Record<string, unknown>[]> =>
    (
      await ledgerOf().db.query<{ detail: Record<string, unknown> }>(
        'SELECT detail FROM audit WHERE tenant_id = $1 AND type = $2 ORDER BY seq',
        [tenant, type],
      )
    ).map(({ detail }) => detail);

  /** Work of a tenant that workers of one pool may claim, each worker as much as it likes. */
  async function work(
    tenant: string,
    count: number,
  ): Promise<{ principal: WorkerPrincipal; workers: WorkerPrincipal[]; ids: string[] }> {
    const principal = await ledgerOf().enrol({ maxOpenDeliveries: 100 });
    const more = Array.from({ length: 3 }, () => ledgerOf().enrol({ maxOpenDeliveries: 100, pool: principal.poolId }));
    const ids: string[] = [];
    for (let i = 0; i < count; i += 1) ids.push(await ledgerOf().admitted({ pool: principal.poolId }, tenant));
    return { principal, workers: [principal, ...(await Promise.all(more))], ids };
  }
  const claimAll = async (workers: WorkerPrincipal[], ids: string[]) =>
    race(ids.map((id, index) => () => ledgerOf().claim(workers[index % workers.length]!, id)));

  return { limited, limit, limitPool, used, anHourLater, earlyInTheMinute, audited, work, claimAll };
}
