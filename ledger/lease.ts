import { createHash } from 'node:crypto';
import { Problem } from '../contracts/problems';
import type { LeaseStatus } from '../contracts/terminology';
import { matchesHash, randomSecret } from '../domain/secret';
import type { Queryable } from './database';

export interface LeaseRow {
  work_id: string;
  epoch: string;
  token_hash: Buffer;
  worker_id: string;
  credential_id: string;
  claim_key_hash: Buffer | null;
  claimed_at: Date;
  expires_at: Date;
  delivery: number | null;
  closed_at: Date | null;
  close_reason: string | null;
  status: LeaseStatus;
  /** How often the unit was claimed, those given back before work began not counted. */
  attempt: number;
  now: Date;
}

/** A new token of an epoch: the epoch in it is for the audit alone, what counts is the hash of the whole. */
export const newLeaseToken = (epoch: number): string => `olt_${epoch}_${randomSecret()}`;

/** The epoch that a token names; null for one that does not say, as those of earlier versions. */
function epochOf(token: string): number | null {
  const named = /^olt_([1-9][0-9]{0,14})_[A-Za-z0-9_-]{43}$/.exec(token)?.[1];
  return named === undefined ? null : Number(named);
}

export async function leaseOf(tx: Queryable, workId: string): Promise<LeaseRow | null> {
  const [row] = await tx.query<LeaseRow>('SELECT l.*, clock_timestamp() AS now FROM leases l WHERE work_id = $1', [
    workId,
  ]);
  return row ?? null;
}

export const isLive = (lease: LeaseRow): boolean => lease.closed_at === null && lease.expires_at > lease.now;

/** It held until its delivery was ended or cancelled. One that had run out by then did not, whoever closed it. */
export const wasConcluded = ({ status, closed_at: closedAt, expires_at: expiresAt }: LeaseRow): boolean =>
  closedAt !== null && closedAt <= expiresAt && ['completed', 'failed', 'cancelled'].includes(status);

/** Why a presented lease token does not hold, or null when it does. */
export function staleness(lease: LeaseRow | null, workerId: string, token: string): string | null {
  if (!lease) return 'unknown';
  if (!matchesHash(token, lease.token_hash) || lease.worker_id !== workerId) return 'mismatch';
  if (lease.closed_at !== null) return 'closed';
  return lease.expires_at > lease.now ? null : 'expired';
}

/** A stale write is refused and leaves a record; the record is committed although the write is not. */
export class StaleLease extends Problem {
  constructor(
    readonly staleness: string,
    current: Pick<LeaseRow, 'epoch' | 'delivery'> | null,
    presented: string,
  ) {
    const delivery = current?.delivery ?? null;
    super('lease.stale', `The lease token does not hold (${staleness}).`, { extra: { staleness, delivery } });
    this.currentEpoch = current && Number(current.epoch);
    this.presentedEpoch = epochOf(presented);
    this.presentedTokenHash = createHash('sha256').update(presented).digest('hex').slice(0, 16);
  }
  readonly presentedTokenHash: string;
  readonly currentEpoch: number | null;
  readonly presentedEpoch: number | null;
}

/** Refused writes of one worker and tenant that are recorded a minute; of more nothing new would be learnt. */
export const STALE_WRITES_PER_MINUTE = 100;

/**
 * Records a stale write of a worker that had the workload once, or whose pool serves its tenant. Returns the refusal: to every other
 * worker there is no such workload.
 */
export async function recordStaleWrite(
  db: Queryable,
  write: { workId: string; workerId: string; poolId: string; kind: string; stale: StaleLease },
): Promise<Problem> {
  const [known] = await db.query(
    `WITH work AS (
       SELECT w.tenant_id, w.workload_id FROM workloads w JOIN pools p ON p.pool_id = $4
       WHERE w.workload_id = $1 AND (w.pool_id = p.pool_id OR p.tenants IS NULL OR w.tenant_id = ANY(p.tenants) OR EXISTS (
         SELECT 1 FROM deliveries d WHERE d.workload_id = w.workload_id AND d.worker_id = $6))
     ), noted AS (
       INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
       SELECT w.tenant_id, w.workload_id, 'lease.stale_write_rejected', $2::text, $3::jsonb FROM work w
       WHERE (SELECT count(*) FROM audit a WHERE a.tenant_id = w.tenant_id AND a.actor = $2::text
              AND a.at > clock_timestamp() - interval '1 minute' AND a.type = 'lease.stale_write_rejected') < $5::int
     )
     SELECT 1 FROM work`,
    [
      write.workId,
      `worker:${write.workerId}`,
      JSON.stringify({
        write: write.kind,
        why: write.stale.staleness,
        presented_epoch: write.stale.presentedEpoch,
        current_epoch: write.stale.currentEpoch,
        presented_token: write.stale.presentedTokenHash,
      }),
      write.poolId,
      STALE_WRITES_PER_MINUTE,
      write.workerId,
    ],
  );
  return known ? write.stale : new Problem('not_found', 'No such workload.');
}
