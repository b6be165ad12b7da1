import type { ExecutionHandle } from '../contracts/execution';
import { Problem } from '../contracts/problems';
import { livesByItsLease } from '../contracts/terminology';
import type { LeaseRenewed } from '../contracts/worker-protocol';
import { secretHash } from '../domain/secret';
import { COMMAND_LEASE_MS, runnerJobOf } from '../domain/execution/command-lease';
import { applyFact } from './change';
import type { Database, Queryable } from './database';
import { underLock, type FencedWrite } from './fenced-write';
import { staleness, StaleLease } from './lease';
import type { WorkloadRow } from './workload-row';

/** Bytes of a target as JSON, at most. */
const MAX_TARGET_BYTES = 16 * 1024;

/** What a worker says of a command that is under way. */
export interface Renewal {
  /** It has been started. */
  running?: boolean | undefined;
  /** What the backend's target told of itself. */
  target?: ExecutionHandle | undefined;
}

export interface Renewed {
  answer: LeaseRenewed;
  /** The workload's row, when its workflow must hear of it. */
  wake: WorkloadRow | null;
}

/**
 * Lets the lease of a command or of managed work live on, but not past the workload's deadline. A target is kept once it is told; another job later
 * is `workload.state_conflict`. A paused worker is refused: what it holds runs out.
 */
export async function renewLease(
  db: Database,
  write: FencedWrite,
  renewal: Renewal,
  ttlMs = COMMAND_LEASE_MS,
): Promise<Renewed> {
  const { status, workerId } = write.principal;
  return underLock(db, write, 'renew', async (tx, row, current) => {
    const stale = staleness(current, workerId, write.leaseToken);
    // By renewing, the holder learns of a cancel: no attempt to write that the audit would have to tell of.
    if (stale === 'closed' && row.state === 'cancelled' && current?.delivery != null) {
      throw new Problem('lease.stale', 'The workload was cancelled.', {
        extra: { staleness: stale, delivery: current.delivery },
      });
    }
    if (stale !== null) throw new StaleLease(stale, current, write.leaseToken);
    const lease = current!;
    // After the lease was judged: whoever holds none any more must hear that, and end its command.
    if (status === 'paused' || status === 'pending') {
      throw new Problem(`worker.${status}`, `Worker ${workerId} is ${status} and may not renew.`);
    }
    if (lease.delivery === null || !livesByItsLease(row.executor)) {
      const why =
        lease.delivery === null
          ? 'No intent is recorded under this lease.'
          : 'No worker renews the lease of this executor.';
      throw new Problem('workload.state_conflict', why, { extra: { state: row.state } });
    }
    if (renewal.target) await keepTarget(tx, row, write, renewal.target);
    const started = renewal.running === true && row.state === 'delivered' ? await startWork(tx, row, write) : null;
    const now = started ?? row;
    const [renewed] = await tx.query<{ expires_at: Date; ttl_ms: number; runner_done: boolean }>(
      `WITH renewed AS (
         UPDATE leases SET expires_at = least(clock_timestamp() + $3::float8 * interval '1 millisecond', $4::timestamptz),
           renewals = renewals + 1, last_heartbeat_at = clock_timestamp()
         WHERE work_id = $1 RETURNING expires_at, renewals, epoch
       ), noted AS (
         INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
         SELECT $5, $1, 'lease.renewed', $6, jsonb_build_object('epoch', epoch) FROM renewed WHERE renewals = 1
       )
       SELECT r.expires_at, d.runner_done_at IS NOT NULL AS runner_done,
         floor(extract(epoch FROM r.expires_at - clock_timestamp()) * 1000)::float8 AS ttl_ms
       FROM renewed r, deliveries d WHERE d.workload_id = $1 AND d.number = $2`,
      [row.workload_id, lease.delivery, ttlMs, now.deadline_at, row.tenant_id, `worker:${workerId}`],
    );
    const { expires_at: expiresAt, ttl_ms: left, runner_done: done } = renewed!;
    const answer: LeaseRenewed = {
      state: now.state,
      expires_at: expiresAt.toISOString(),
      ttl_ms: Math.max(0, left),
      ...(done && { runner_done: true as const }),
    };
    return { answer, wake: started };
  });
}

/** Notes that work that was handed over has begun. Its workflow must hear of it. */
export async function startWork(tx: Queryable, row: WorkloadRow, write: FencedWrite): Promise<WorkloadRow> {
  const fact = { type: 'lifecycle', delivery: row.delivery, status: 'running' } as const;
  const change = await applyFact(tx, row, fact, { actor: `worker:${write.principal.workerId}`, wake: true });
  await tx.query(
    `UPDATE deliveries SET write = 'written', written_at = clock_timestamp() WHERE workload_id = $1 AND number = $2`,
    [row.workload_id, row.delivery],
  );
  return change.row;
}

async function keepTarget(
  tx: Queryable,
  row: WorkloadRow,
  { principal }: FencedWrite,
  target: ExecutionHandle,
): Promise<void> {
  const text = JSON.stringify(target);
  if (Buffer.byteLength(text) > MAX_TARGET_BYTES) {
    throw new Problem('request.invalid', 'The target is too large.', {
      errors: [{ pointer: '/target', detail: `must have at most ${MAX_TARGET_BYTES} bytes as JSON` }],
    });
  }
  const [delivery] = await tx.query<{ target: string | null }>(
    'SELECT target FROM deliveries WHERE workload_id = $1 AND number = $2',
    [row.workload_id, row.delivery],
  );
  const known = delivery?.target == null ? null : (JSON.parse(delivery.target) as ExecutionHandle);
  if (known !== null && runnerJobOf(known) !== runnerJobOf(target)) {
    throw new Problem('workload.state_conflict', 'Another job was reported for this delivery.', {
      extra: { state: row.state },
    });
  }
  if (known !== null) return;
  await tx.query(
    `WITH kept AS (UPDATE deliveries SET target = $3 WHERE workload_id = $1 AND number = $2::int)
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     VALUES ($4, $1, 'delivery.target_known', $5, jsonb_build_object('delivery', $2::int, 'target_sha256', $6::text))`,
    [
      row.workload_id,
      row.delivery,
      text,
      row.tenant_id,
      `worker:${principal.workerId}`,
      secretHash(text).toString('hex'),
    ],
  );
}
