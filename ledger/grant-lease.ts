import type { SourceEvent } from '../contracts/events';
import { deliveryIdOf } from '../contracts/names';
import type { RuleSnapshot } from '../contracts/policy';
import type { Claim } from '../contracts/worker-protocol';
import { randomSecret, secretHash } from '../domain/secret';
import { mintCapability } from './capability-grants';
import { absorbedForClaim } from './absorbed';
import type { Queryable } from './database';
import type { LeaseRow } from './lease';
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
}

/** Writes the lease of a claim that nothing stands against: epoch + 1 and a new token. Returns what the worker is told. */
export async function grantLease(
  tx: Queryable,
  row: WorkloadRow,
  previous: LeaseRow | null,
  principal: WorkerPrincipal,
  { ttlMs = CLAIM_TTL_MS, claimKey }: ClaimOptions,
): Promise<Claim> {
  const token = randomSecret();
  const epoch = previous ? Number(previous.epoch) + 1 : 1;
  const [written] = await tx.query<{ expires_at: Date; body: string; rule: string }>(
    `WITH lease AS (
       INSERT INTO leases AS l (work_id, epoch, token_hash, worker_id, credential_id, claim_key_hash, claimed_at, expires_at)
       VALUES ($1, $2::bigint, $3, $4::text, $5, $9, clock_timestamp(), clock_timestamp() + $6::float8 * interval '1 millisecond')
       ON CONFLICT (work_id) DO UPDATE SET epoch = excluded.epoch, token_hash = excluded.token_hash,
         worker_id = excluded.worker_id, credential_id = excluded.credential_id,
         claim_key_hash = excluded.claim_key_hash, claimed_at = excluded.claimed_at,
         expires_at = excluded.expires_at, delivery = NULL, closed_at = NULL, close_reason = NULL
       RETURNING expires_at
     ), note AS (
       INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
       VALUES ($7, $1, 'lease.claimed', $8, jsonb_build_object('epoch', $2::bigint, 'worker_id', $4::text))
     )
     SELECT lease.expires_at, e.body, d.rule FROM lease, events e JOIN decisions d USING (workload_id) WHERE e.workload_id = $1`,
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
    ],
  );
  const rule = JSON.parse(written!.rule) as RuleSnapshot;
  const number = row.delivery + 1;
  const capability = rule.capabilities?.length
    ? await mintCapability(tx, row, number, `worker:${principal.workerId}`)
    : undefined;
  const absorbed = row.lanes && (await absorbedForClaim(tx, row.workload_id));
  return {
    work_id: row.workload_id,
    tenant_id: row.tenant_id,
    epoch,
    lease_token: token,
    expires_at: written!.expires_at.toISOString(),
    ttl_ms: ttlMs,
    executor: row.executor!,
    delivery_number: number,
    delivery_id: deliveryIdOf(row.workload_id, number),
    event: JSON.parse(written!.body) as SourceEvent,
    trigger: {
      prompt: rule.trigger.prompt ?? null,
      include: rule.trigger.include,
      response_policy: rule.trigger.response_policy ?? null,
    },
    ...(capability && { capability }),
    ...(absorbed && { absorbed }),
  };
}
