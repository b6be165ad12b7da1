import { Problem } from '../contracts/problems';
import type { WorkerState } from '../contracts/terminology';
import type { Claim } from '../contracts/worker-protocol';
import { ineligibility } from '../domain/eligibility';
import { matchesHash } from '../domain/secret';
import { mayClaim } from '../domain/worker-moves';
import { applyFact } from './change';
import { chargeClaim } from './claim-charges';
import { noteDenial } from './denials';
import { lockHolders, readClaimFacts, type ClaimFacts } from './claim-facts';
import { needsOf, poolFactsOf, workerFactsOf } from './servers';
import type { Database, Queryable } from './database';
import { commandRunOf } from './command-runs';
import { grantLease, grantResumption, type ClaimOptions } from './grant-lease';
import { isLive, type LeaseRow } from './lease';
import { noteExecutorRestart } from './executor-restart';
import { takeProbe } from './suspect-slot';
import { noteWorkerFailure } from './worker-failures';
import type { WorkerPrincipal } from './workers';
import { lockWorkload, type WorkloadRow } from './workload-row';

/** How long a worker that may not have a unit is to leave it to others, milliseconds. */
const HAND_BACK_MS = {
  'worker.incompatible': 3_000,
  'worker.wrong_tenant': 10_000,
  'pool.not_active': 10_000,
} as const;

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
  const locked = await lockHolders(tx, principal.workerId);
  if (locked && options.executorRestarted) await noteExecutorRestart(tx, principal.workerId);
  const read = locked && (await readClaimFacts(tx, principal, row, run?.resumable === true));
  const refusal = barred(principal, read?.facts) ?? ineligible(principal, read!.facts, row);
  if (refusal) return { refusal };
  const { facts, lease } = read!;
  if (run?.resumable) return resume(tx, row!, { principal, facts, lease: lease!, options });
  const held = heldBy(lease, principal, row!);
  if (held) return { refusal: held };
  if (isRepeated(lease, principal, options.claimKey)) {
    return { claim: await grantLease(tx, row!, lease, principal, { ...options, repeated: true }) };
  }
  const counted = await countFailedAttempt(tx, row!, lease, principal);
  if (counted.state !== 'queued') return { refusal: notNeeded(counted) };
  const full = noCapacity(facts) ?? (await chargeClaim(tx, counted, facts));
  if (full) return denied(tx, counted, principal, full);
  if (facts.suspect) await takeProbe(tx, principal.workerId);
  return { claim: await grantLease(tx, counted, lease, principal, options) };
}

/** A runner has the job: whoever claims it waits for its end, once the worker before is gone. Its own may take it up at once. */
async function resume(
  tx: Queryable,
  row: WorkloadRow,
  {
    principal,
    facts,
    lease,
    options,
  }: { principal: WorkerPrincipal; facts: ClaimFacts; lease: LeaseRow; options: ClaimOptions },
): Promise<Try> {
  if (row.deadline_at !== null && row.deadline_at <= row.now) return { refusal: notNeeded(row) };
  const refusal = heldByAnother(lease, principal) ?? noCapacity(facts);
  if (refusal) return denied(tx, row, principal, refusal);
  return { claim: await grantResumption(tx, row, lease, principal, options) };
}

/** Refuses a claim, and tells the audit where that is for want of room, a limit or an entitlement. */
async function denied(tx: Queryable, row: WorkloadRow, { workerId }: WorkerPrincipal, refusal: Problem): Promise<Try> {
  await noteDenial(tx, { tenantId: row.tenant_id, actor: `worker:${workerId}`, workId: row.workload_id }, refusal);
  return { refusal };
}

/** The same attempt asks again: the answer to its claim was lost. */
function isRepeated(lease: LeaseRow | null, principal: WorkerPrincipal, claimKey: string | undefined): boolean {
  if (!lease || !isLive(lease) || lease.delivery !== null || lease.worker_id !== principal.workerId) return false;
  return claimKey !== undefined && lease.claim_key_hash !== null && matchesHash(claimKey, lease.claim_key_hash);
}

/** Why this worker may claim nothing at all. */
function barred(principal: WorkerPrincipal, facts: ClaimFacts | undefined): Problem | null {
  if (!facts?.credential_live) return new Problem('auth.required', 'The credential is revoked or expired.');
  if (mayClaim(facts.worker_status)) return null;
  const status = facts.worker_status as Exclude<WorkerState, 'active'>;
  return new Problem(`worker.${status}`, `Worker ${principal.workerId} is ${status} and may not claim.`);
}

/** Why it may not have this workload, whatever room there is. */
function ineligible(principal: WorkerPrincipal, facts: ClaimFacts, row: WorkloadRow | null): Problem | null {
  if (!row || isStrangers(principal, facts, row)) return new Problem('not_found', 'No such workload.');
  const unfit = ineligibility(needsOf(row), poolFactsOf(facts), workerFactsOf(facts));
  if (unfit) return new Problem(unfit.code, unfit.detail, { retryAfterMs: HAND_BACK_MS[unfit.code] });
  if (row.pool_id === principal.poolId) return null;
  return new Problem('worker.wrong_pool', 'The workload belongs to another pool.');
}

/** Another pool's work for a tenant that its own pool does not serve: a worker is not even told that there is such a thing. */
const isStrangers = (principal: WorkerPrincipal, { tenants }: ClaimFacts, row: WorkloadRow): boolean =>
  row.pool_id !== principal.poolId && tenants !== null && !tenants.includes(row.tenant_id);

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
  await noteWorkerFailure(tx, row.workload_id, 'lease_ran_out');
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

function noCapacity(facts: ClaimFacts): Problem | null {
  const { open, max_open_deliveries: limit, max_concurrent_work: poolLimit, pool_open: poolOpen } = facts;
  if (poolLimit !== null && poolLimit > 0 && poolOpen >= poolLimit) {
    return full('capacity.pool', `The pool holds ${poolOpen} of ${poolLimit} units of work.`, poolLimit, poolOpen);
  }
  if (open >= limit) {
    const detail = `The worker has ${open} of ${limit} open deliveries of this executor.`;
    return full('capacity.worker', detail, limit, open);
  }
  if (facts.suspect && !facts.probe_due) {
    return new Problem('capacity.suspect', 'A delivery of this worker was lost; the slot waits for its next probe.', {
      retryAfterMs: Math.min(Math.max(facts.probe_in_ms, 250), 30_000),
    });
  }
  return null;
}

const full = (code: 'capacity.pool' | 'capacity.worker', detail: string, limit: number, used: number): Problem =>
  new Problem(code, detail, { retryAfterMs: 1000, extra: { limit, used } });
