import type { WorkerState } from '../contracts/terminology';
import { claimGates, type ClaimGates } from './claim-charges';
import type { Queryable } from './database';
import type { LeaseRow } from './lease';
import { poolGate } from './pool-gate';
import { SERVER_COLUMNS, type ServerColumns } from './servers';
import type { WorkerPrincipal } from './workers';
import type { WorkloadRow } from './workload-row';

/** All that a claim is judged by but the workload, read under the locks of the workload, the worker and a pool with a bound. */
export interface ClaimFacts extends ServerColumns, ClaimGates {
  credential_live: boolean;
  max_open_deliveries: number;
  open: number;
  suspect: boolean;
  probe_due: boolean;
  probe_in_ms: number;
  max_concurrent_work: number | null;
  /** Units that the pool holds beside this one; counted only where the pool has a bound. */
  pool_open: number;
}

/**
 * Locks a worker, and its pool where that bounds its concurrent work: whoever counts what they hold, and whoever adds to it, comes
 * through here. A change of the pool waits for all who do, and they for it, but not for each other. Returns the ledger's clock once both
 * are locked, and the worker's state; null when there is no such worker.
 */
export async function lockHolders(tx: Queryable, workerId: string): Promise<{ now: Date; status: WorkerState } | null> {
  const [locked] = await tx.query<{ now: Date; status: WorkerState }>(
    `SELECT bounded, status, clock_timestamp() AS now FROM (
       SELECT k.status, pg_advisory_xact_lock_shared(${poolGate('k.pool_id')}),
         (SELECT true FROM pools p WHERE p.pool_id = k.pool_id AND p.max_concurrent_work > 0 FOR NO KEY UPDATE) AS bounded
       FROM (SELECT pool_id, status FROM workers WHERE worker_id = $1 FOR UPDATE) k) locked`,
    [workerId],
  );
  return locked ?? null;
}

/** Units that are held: deliveries in their slots, and leases before their intent. */
const OPEN = `(SELECT count(*)::int FROM deliveries d WHERE d.worker_id = $1 AND d.executor = $4 AND d.slot_until > clock_timestamp()
    AND NOT ($5::boolean AND d.workload_id = $3)
    AND (d.executor = 'opencrow' OR d.status = 'cancelled' OR EXISTS (
      SELECT 1 FROM leases s WHERE s.work_id = d.workload_id AND s.closed_at IS NULL AND s.expires_at > clock_timestamp())))
  + (SELECT count(*)::int FROM leases s JOIN workloads o ON o.workload_id = s.work_id
     WHERE s.worker_id = $1 AND s.work_id <> $3 AND o.executor = $4
       AND s.closed_at IS NULL AND s.delivery IS NULL AND s.expires_at > clock_timestamp())`;

/** Units that a pool holds: live leases, and what was cancelled under way and keeps its slot. */
const POOL_OPEN = `CASE WHEN p.max_concurrent_work > 0 THEN
    (SELECT count(*)::int FROM leases s WHERE s.pool_id = k.pool_id AND s.work_id <> $3 AND s.closed_at IS NULL
       AND s.expires_at > clock_timestamp())
    + (SELECT count(*)::int FROM deliveries d WHERE d.pool_id = k.pool_id AND d.status = 'cancelled' AND d.slot_until > clock_timestamp())
  ELSE 0 END`;

/** Reads the worker that {@link lockHolders} locked, its pool and credential, and the workload's lease, in one statement. */
export async function readClaimFacts(
  tx: Queryable,
  principal: WorkerPrincipal,
  row: WorkloadRow | null,
  resumes: boolean,
): Promise<{ facts: ClaimFacts; lease: LeaseRow | null } | null> {
  const [read] = await tx.query<ClaimFacts & (LeaseRow | { work_id: null })>(
    `SELECT ${SERVER_COLUMNS}, p.max_concurrent_work, k.max_open_deliveries,
       CASE WHEN $6::boolean OR p.compatibility IS NOT NULL THEN k.capabilities END AS worker_capabilities,
       CASE WHEN $6::boolean OR p.compatibility IS NOT NULL THEN p.capabilities END AS pool_capabilities,
       c.revoked_at IS NULL AND c.expires_at > clock_timestamp() AS credential_live,
       k.suspect_since IS NOT NULL AND $4::text = 'opencrow' AS suspect,
       coalesce(k.suspect_probe_at <= clock_timestamp(), true) AS probe_due,
       coalesce(greatest(0, ceil(extract(epoch FROM k.suspect_probe_at - clock_timestamp()) * 1000)), 0)::float8 AS probe_in_ms,
       ${OPEN} AS open, ${POOL_OPEN} AS pool_open,
       ${claimGates('$7')}, l.*, clock_timestamp() AS now
     FROM workers k JOIN pools p USING (pool_id) JOIN worker_credentials c ON c.credential_id = $2
       LEFT JOIN leases l ON l.work_id = $3
     WHERE k.worker_id = $1`,
    [
      principal.workerId,
      principal.credentialId,
      row?.workload_id ?? null,
      row?.executor ?? null,
      resumes,
      row?.requires != null,
      row?.tenant_id ?? null,
    ],
  );
  if (!read) return null;
  return { facts: read, lease: read.work_id === null ? null : read };
}
