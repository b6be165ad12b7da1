import type { SourceEvent } from '../contracts/events';
import type { ExecutionHandle } from '../contracts/execution';
import { deliveryIdOf } from '../contracts/names';
import type { RuleSnapshot } from '../contracts/policy';
import type { RunSpec } from '../contracts/run';
import type { Secret } from '../contracts/secret';
import type { Claim } from '../contracts/worker-protocol';
import { COMMAND_LEASE_MS, hasRunner } from '../domain/execution/command-lease';
import { secretHash } from '../domain/secret';
import { runnerCallbackPath, runnerCallbackSecret } from '../domain/webhooks/secrets';
import { mintCapability } from './capability-grants';
import { absorbedForClaim } from './absorbed';
import type { Queryable } from './database';
import { isLive, newLeaseToken, type LeaseRow } from './lease';
import type { WorkerPrincipal } from './workers';
import type { WorkloadRow } from './workload-row';

const CLAIM_TTL_MS = 30_000;

export interface ClaimOptions {
  /** The worker saw its executor gone and back. Default false. */
  executorRestarted?: boolean;
  /** The attempt's own key: a claim repeated with it counts nothing. */
  claimKey?: string | undefined;
  /** Life of the lease before intent, milliseconds. Default 30,000. */
  ttlMs?: number;
  /** Life of a command's lease without a renewal, milliseconds; counts when a command is taken over. Default 30,000. */
  commandTtlMs?: number | undefined;
  /** The service's signing key, for the secrets of runners that call back. Default: none does. */
  signingKey?: (() => Secret) | undefined;
}

/** Writes the lease of a claim that nothing stands against: epoch + 1 and a new token. Returns what the worker is told. */
export async function grantLease(
  tx: Queryable,
  row: WorkloadRow,
  previous: LeaseRow | null,
  principal: WorkerPrincipal,
  options: ClaimOptions & { repeated?: boolean },
): Promise<Claim> {
  const ttlMs = options.ttlMs ?? CLAIM_TTL_MS;
  const number = row.delivery + 1;
  const written = await writeLease(tx, row, { previous, principal, options, ttlMs, resumes: null });
  const capability = written.rule.capabilities?.length
    ? await mintCapability(tx, row, number, `worker:${principal.workerId}`)
    : undefined;
  const absorbed = row.lanes && (await absorbedForClaim(tx, row.workload_id));
  return {
    ...claimOf(row, number, written, options),
    ...(capability && { capability }),
    ...(absorbed && { absorbed }),
  };
}

/**
 * Writes the lease of a worker that takes over the waiting for a runner's job: a new epoch for the same delivery. The job has its
 * capability token since it was submitted; that one stays.
 */
export async function grantResumption(
  tx: Queryable,
  row: WorkloadRow,
  previous: LeaseRow | null,
  principal: WorkerPrincipal,
  options: ClaimOptions,
): Promise<Claim> {
  const ttlMs = options.commandTtlMs ?? COMMAND_LEASE_MS;
  const written = await writeLease(tx, row, { previous, principal, options, ttlMs, resumes: row.delivery });
  const [delivery] = await tx.query<{ target: string }>(
    `UPDATE deliveries SET worker_id = $3, epoch = $4 WHERE workload_id = $1 AND number = $2 RETURNING target`,
    [row.workload_id, row.delivery, principal.workerId, written.epoch],
  );
  return {
    ...claimOf(row, row.delivery, written, options),
    resume: { target: JSON.parse(delivery!.target) as ExecutionHandle },
  };
}

interface WrittenLease {
  epoch: number;
  token: string;
  expiresAt: Date;
  ttlMs: number;
  event: SourceEvent;
  rule: RuleSnapshot;
  run: RunSpec | null;
}

async function writeLease(
  tx: Queryable,
  row: WorkloadRow,
  {
    previous,
    principal,
    options: { claimKey, repeated },
    ttlMs,
    resumes,
  }: {
    previous: LeaseRow | null;
    principal: WorkerPrincipal;
    /** `repeated`: the same attempt asks again. */
    options: ClaimOptions & { repeated?: boolean };
    ttlMs: number;
    /** The delivery that is taken over. */
    resumes: number | null;
  },
): Promise<WrittenLease> {
  const epoch = previous ? Number(previous.epoch) + 1 : 1;
  const token = newLeaseToken(epoch);
  const [written] = await tx.query<{
    expires_at: Date;
    ttl_ms: number;
    body: string;
    rule: string;
    run: string | null;
  }>(
    `WITH lease AS (
       INSERT INTO leases AS l (work_id, tenant_id, epoch, token_hash, worker_id, credential_id, claim_key_hash, claimed_at,
         expires_at, delivery, pool_id, priority, available_at, attempt, idempotency_key)
       VALUES ($1, $7, $2::bigint, $3, $4::text, $5, $9, clock_timestamp(),
         CASE WHEN $10::int IS NULL THEN clock_timestamp() + $6::float8 * interval '1 millisecond'
           ELSE least(clock_timestamp() + $6::float8 * interval '1 millisecond', $11::timestamptz) END, $10,
         $12, $13, $14, $15, $16)
       ON CONFLICT (work_id) DO UPDATE SET epoch = excluded.epoch, token_hash = excluded.token_hash,
         worker_id = excluded.worker_id, credential_id = excluded.credential_id,
         claim_key_hash = excluded.claim_key_hash, claimed_at = excluded.claimed_at,
         expires_at = excluded.expires_at, delivery = excluded.delivery, closed_at = NULL, close_reason = NULL,
         pool_id = excluded.pool_id, priority = excluded.priority, available_at = excluded.available_at,
         attempt = excluded.attempt, idempotency_key = excluded.idempotency_key, status = 'held', renewals = 0,
         last_heartbeat_at = NULL, completed_at = NULL, failed_at = NULL
       RETURNING expires_at
     ), note AS (
       INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
       SELECT $7, $1, 'lease.expired', $8::text, $17::jsonb WHERE $17::jsonb IS NOT NULL
       UNION ALL
       SELECT $7, $1, 'lease.claimed', $8::text, jsonb_strip_nulls(
         jsonb_build_object('epoch', $2::bigint, 'worker_id', $4::text, 'resumes', $10::int))
     )
     SELECT lease.expires_at, e.body, d.rule, d.run,
       greatest(0, floor(extract(epoch FROM lease.expires_at - clock_timestamp()) * 1000))::float8 AS ttl_ms
     FROM lease, events e JOIN decisions d USING (workload_id) WHERE e.workload_id = $1`,
    [
      row.workload_id,
      epoch,
      secretHash(token),
      principal.workerId,
      principal.credentialId,
      ttlMs,
      row.tenant_id,
      `worker:${principal.workerId}`,
      claimKey === undefined ? null : secretHash(claimKey),
      resumes,
      row.deadline_at,
      principal.poolId,
      row.priority,
      resumes === null ? row.updated_at : previous!.expires_at,
      attemptOf(previous, resumes, repeated === true),
      deliveryIdOf(row.workload_id, resumes ?? row.delivery + 1),
      takenOver(previous, resumes),
    ],
  );
  return {
    epoch,
    token,
    expiresAt: written!.expires_at,
    ttlMs: written!.ttl_ms,
    event: JSON.parse(written!.body) as SourceEvent,
    rule: JSON.parse(written!.rule) as RuleSnapshot,
    run: written!.run === null ? null : (JSON.parse(written!.run) as RunSpec),
  };
}

/** A claim counts, but for one that is repeated, or that follows one which was given back before work began. */
function attemptOf(previous: LeaseRow | null, resumes: number | null, repeated: boolean): number {
  if (previous === null) return 1;
  return repeated || (previous.status === 'released' && resumes === null) ? previous.attempt : previous.attempt + 1;
}

/** The lease of a runner's job that ran out, and that nothing but this claim notices. */
function takenOver(previous: LeaseRow | null, resumes: number | null): string | null {
  if (resumes === null || previous === null || previous.closed_at !== null || isLive(previous)) return null;
  return JSON.stringify({ epoch: Number(previous.epoch), worker_id: previous.worker_id, delivery: previous.delivery });
}

function claimOf(
  row: WorkloadRow,
  number: number,
  { epoch, token, expiresAt, ttlMs, event, rule, run }: WrittenLease,
  { signingKey }: ClaimOptions,
): Claim {
  const deliveryId = deliveryIdOf(row.workload_id, number);
  const { prompt, include, response_policy: responsePolicy } = rule.trigger;
  return {
    work_id: row.workload_id,
    tenant_id: row.tenant_id,
    epoch,
    lease_token: token,
    expires_at: expiresAt.toISOString(),
    ttl_ms: ttlMs,
    executor: row.executor!,
    delivery_number: number,
    delivery_id: deliveryId,
    event,
    trigger: { prompt: prompt ?? null, include, response_policy: responsePolicy ?? null },
    ...(run && { run }),
    ...(run?.completion === 'webhook' &&
      hasRunner(row.executor) &&
      signingKey && {
        runner_callback: {
          path: runnerCallbackPath(deliveryId),
          secret: runnerCallbackSecret(signingKey(), deliveryId).reveal(),
        },
      }),
  };
}
