import { Problem } from '../contracts/problems';
import type { ExecutorKind, WorkerState } from '../contracts/terminology';
import type { Claim } from '../contracts/worker-protocol';
import { matchesHash } from '../domain/secret';
import { applyFact } from './change';
import { chargeClaim, claimGates, type ClaimGates } from './claim-charges';
import type { Database, Queryable } from './database';
import { commandRunOf } from './command-runs';
import { grantLease, grantResumption, type ClaimOptions } from './grant-lease';
import { isLive, leaseOf, type LeaseRow } from './lease';
import { noteExecutorRestart } from './executor-restart';
import { takeProbe } from './suspect-slot';
import type { WorkerPrincipal } from './workers';
import { lockWorkload, type WorkloadRow } from './workload-row';

interface WorkerRow extends ClaimGates {
  /** What it offers; null when it never said. */
  executors: ExecutorKind[] | null;
  status: WorkerState;
  pool_status: string;
  tenants: string[] | null;
  credential_live: boolean;
  max_open_deliveries: number;
  open: number;
  suspect: boolean;
  probe_due: boolean;
  probe_in_ms: number;
}

/** What one try came to; a refusal that changed the ledger must still commit, so it is a value and not a throw. */
type Try = { claim: Claim } | { refusal: Problem };

/**
 * Gives a worker the right to act for a workload: eligibility, capacity, deadline, then epoch + 1 and a new token, in one
 * transaction. Every refusal is a Problem of `CLAIM_REFUSALS`.
 */
export async function claim(
  db: Database,
  principal: WorkerPrincipal,
  workId: string,
  options: ClaimOptions = {},
): Promise<Claim> {
  const result = await db.transaction((tx) => tryClaim(tx, principal, workId, options));
  if ('refusal' in result) throw result.refusal;
  return result.claim;
}

async function tryClaim(
  tx: Queryable,
  principal: WorkerPrincipal,
  workId: string,
  options: ClaimOptions,
): Promise<Try> {
  const row = await lockWorkload(tx, workId);
  const run = row && (await commandRunOf(tx, row));
  const worker = await lockWorker(tx, principal, row, run?.resumable === true, options);
  const refusal = ineligible(principal, worker, row);
  if (refusal) return { refusal };
  if (row!.pool_id !== principal.poolId)
    return { refusal: new Problem('worker.wrong_pool', 'The workload belongs to another pool.') };

  const lease = await leaseOf(tx, workId);
  if (run?.resumable) return resume(tx, row!, { principal, worker: worker!, lease: lease!, options });
  const held = heldBy(lease, principal, row!);
  if (held) return { refusal: held };
  if (isRepeated(lease, principal, options.claimKey)) {
    return { claim: await grantLease(tx, row!, lease, principal, options) };
  }
  const counted = await countFailedAttempt(tx, row!, lease, principal);
  if (counted.state !== 'queued') return { refusal: notNeeded(counted) };
  const full = noCapacity(worker!) ?? (await chargeClaim(tx, counted, worker!));
  if (full) return { refusal: full };
  if (worker!.suspect) await takeProbe(tx, principal.workerId);
  return { claim: await grantLease(tx, counted, lease, principal, options) };
}

/** A runner has the job: whoever claims it waits for its end, once the worker before is gone. Its own may take it up at once. */
async function resume(
  tx: Queryable,
  row: WorkloadRow,
  {
    principal,
    worker,
    lease,
    options,
  }: { principal: WorkerPrincipal; worker: WorkerRow; lease: LeaseRow; options: ClaimOptions },
): Promise<Try> {
  if (row.deadline_at !== null && row.deadline_at <= row.now) return { refusal: notNeeded(row) };
  const refusal = heldByAnother(lease, principal) ?? noCapacity(worker);
  return refusal ? { refusal } : { claim: await grantResumption(tx, row, lease, principal, options) };
}

/** The same attempt asks again: the answer to its claim was lost. */
function isRepeated(lease: LeaseRow | null, principal: WorkerPrincipal, claimKey: string | undefined): boolean {
  if (!lease || !isLive(lease) || lease.delivery !== null || lease.worker_id !== principal.workerId) return false;
  return claimKey !== undefined && lease.claim_key_hash !== null && matchesHash(claimKey, lease.claim_key_hash);
}

async function lockWorker(
  tx: Queryable,
  principal: WorkerPrincipal,
  row: WorkloadRow | null,
  resumes: boolean,
  options: ClaimOptions,
): Promise<WorkerRow | undefined> {
  const locked = await tx.query('SELECT 1 FROM workers WHERE worker_id = $1 FOR UPDATE', [principal.workerId]);
  if (locked.length === 0) return undefined;
  if (options.executorRestarted) {
    await noteExecutorRestart(tx, principal.workerId);
  }
  const [worker] = await tx.query<WorkerRow>(
    `SELECT w.executors, w.status, p.status AS pool_status, p.tenants, w.max_open_deliveries,
       c.revoked_at IS NULL AND c.expires_at > clock_timestamp() AS credential_live,
       w.suspect_since IS NOT NULL AND $4::text = 'opencrow' AS suspect,
       coalesce(w.suspect_probe_at <= clock_timestamp(), true) AS probe_due,
       coalesce(greatest(0, ceil(extract(epoch FROM w.suspect_probe_at - clock_timestamp()) * 1000)), 0)::float8 AS probe_in_ms,
       (SELECT count(*)::int FROM deliveries d WHERE d.worker_id = $1 AND d.executor = $4 AND d.slot_until > clock_timestamp()
          AND NOT ($5::boolean AND d.workload_id = $3)
          AND (d.executor = 'opencrow' OR d.status = 'cancelled' OR EXISTS (
            SELECT 1 FROM leases l WHERE l.work_id = d.workload_id AND l.closed_at IS NULL AND l.expires_at > clock_timestamp())))
         + (SELECT count(*)::int FROM leases l JOIN workloads o ON o.workload_id = l.work_id
            WHERE l.worker_id = $1 AND l.work_id <> $3 AND o.executor = $4
              AND l.closed_at IS NULL AND l.delivery IS NULL AND l.expires_at > clock_timestamp()) AS open,
       ${claimGates('$6')}
     FROM workers w JOIN pools p USING (pool_id) JOIN worker_credentials c ON c.credential_id = $2
     WHERE w.worker_id = $1`,
    [
      principal.workerId,
      principal.credentialId,
      row?.workload_id ?? null,
      row?.executor ?? null,
      resumes,
      row?.tenant_id ?? null,
    ],
  );
  return worker;
}

function ineligible(
  principal: WorkerPrincipal,
  worker: WorkerRow | undefined,
  row: WorkloadRow | null,
): Problem | null {
  if (!worker?.credential_live) return new Problem('auth.required', 'The credential is revoked or expired.');
  if (worker.status !== 'active') {
    return new Problem(
      `worker.${worker.status}`,
      `Worker ${principal.workerId} is ${worker.status} and may not claim.`,
    );
  }
  if (worker.pool_status !== 'active')
    return new Problem('pool.not_active', `Pool ${principal.poolId} is ${worker.pool_status}.`);
  if (!row) return new Problem('not_found', 'No such workload.');
  if (worker.tenants && !worker.tenants.includes(row.tenant_id)) {
    return new Problem('worker.wrong_tenant', `Pool ${principal.poolId} does not serve this workload's tenant.`);
  }
  if (worker.executors && row.executor && !worker.executors.includes(row.executor)) {
    return new Problem('worker.incompatible', `Worker ${principal.workerId} does not offer ${row.executor}.`);
  }
  return null;
}

/** A live lease keeps others out; its own worker may claim again until it recorded an intent. */
function heldBy(lease: LeaseRow | null, principal: WorkerPrincipal, row: WorkloadRow): Problem | null {
  if (row.state === 'delivered' || row.state === 'running' || row.state === 'preempted') {
    return new Problem(
      'delivery.maybe_written',
      'An intent is recorded for this workload; it is never handed over twice.',
      {
        extra: standing(row),
      },
    );
  }
  // One that waits for its turn is offered anew when it comes, so an offer that is still about has nothing to do.
  if (row.state !== 'queued' || row.waiting_for !== null) return notNeeded(row);
  if (row.deadline_at !== null && row.deadline_at <= row.now) return notNeeded(row);
  return heldByAnother(lease, principal);
}

function heldByAnother(lease: LeaseRow | null, principal: WorkerPrincipal): Problem | null {
  if (!lease || !isLive(lease) || lease.worker_id === principal.workerId) return null;
  const retryAfterMs = Math.max(100, lease.expires_at.getTime() - lease.now.getTime());
  return new Problem('lease.held', 'Another worker holds the lease.', { retryAfterMs });
}

function notNeeded(row: WorkloadRow): Problem {
  const standsAt = row.waiting_for === null ? row.state : `waiting for its turn (${row.waiting_for})`;
  return new Problem('workload.not_needed', `The workload is ${standsAt}; nothing is to be handed over.`, {
    extra: standing(row),
  });
}

const standing = (row: WorkloadRow): Record<string, unknown> => ({
  state: row.state,
  wait_ms: row.deadline_at === null ? null : Math.max(0, row.deadline_at.getTime() - row.now.getTime()),
});

/** A lease that ran out before its intent was an attempt that failed through its worker. */
async function countFailedAttempt(
  tx: Queryable,
  row: WorkloadRow,
  lease: LeaseRow | null,
  principal: WorkerPrincipal,
): Promise<WorkloadRow> {
  if (!lease || lease.closed_at !== null || lease.delivery !== null) return row;
  const detail = { worker_id: lease.worker_id, epoch: Number(lease.epoch), why: 'lease_ended_before_intent' };
  const change = await applyFact(
    tx,
    row,
    { type: 'attempt_failed' },
    {
      actor: `worker:${principal.workerId}`,
      wake: true,
      detail,
    },
  );
  return change.row;
}

function noCapacity(worker: WorkerRow): Problem | null {
  if (worker.open >= worker.max_open_deliveries) {
    return new Problem(
      'capacity.worker',
      `The worker has ${worker.open} of ${worker.max_open_deliveries} open deliveries of this executor.`,
      {
        retryAfterMs: 1000,
        extra: { limit: worker.max_open_deliveries, used: worker.open },
      },
    );
  }
  if (worker.suspect && !worker.probe_due) {
    return new Problem('capacity.suspect', 'A delivery of this worker was lost; the slot waits for its next probe.', {
      retryAfterMs: Math.min(Math.max(worker.probe_in_ms, 250), 30_000),
    });
  }
  return null;
}
