import { deliveryIdOf } from '../contracts/names';
import { Problem } from '../contracts/problems';
import { livesByItsLease, type WorkerState } from '../contracts/terminology';
import type { IntentGranted, LeaseOutcome } from '../contracts/worker-protocol';
import { COMMAND_LEASE_MS } from '../domain/execution/command-lease';
import { matchesHash, secretHash } from '../domain/secret';
import { mayRenew } from '../domain/worker-moves';
import { applyFact } from './change';
import { lockHolders } from './claim-facts';
import { commandRunOf } from './command-runs';
import type { Database, Queryable } from './database';
import { fenced, type FencedWrite } from './fenced-write';
import { staleness, StaleLease, type LeaseRow } from './lease';
import { noteWorkerFailure } from './worker-failures';
import { waitMs, type WorkloadRow } from './workload-row';

/**
 * Records that a worker is about to hand the workload over: allocates the delivery number and lets the lease live to the
 * start deadline, for a command `ttlMs` until it is renewed. From here on this delivery is never repeated. The same `intentKey`
 * gets the same answer. A paused worker is refused: it begins nothing.
 */
export async function recordIntent(
  db: Database,
  write: FencedWrite,
  intentKey: string,
  ttlMs = COMMAND_LEASE_MS,
): Promise<IntentGranted> {
  return fenced(db, write, 'intent', async (tx, row, lease) => {
    if (lease.delivery !== null) return repeatedIntent(tx, row, lease, intentKey);
    if (
      row.state !== 'queued' ||
      row.waiting_for !== null ||
      (row.deadline_at !== null && row.deadline_at <= row.now)
    ) {
      throw new Problem('workload.not_needed', `The workload is ${row.state}.`, {
        extra: { state: row.state, wait_ms: waitMs(row) },
      });
    }
    // The slot passes from the lease to the delivery here: no claim of this worker may count in between.
    const locked = await lockHolders(tx, write.principal.workerId);
    if (locked && lease.expires_at <= locked.now) throw new StaleLease('expired', lease, write.leaseToken);
    if (locked && !mayRenew(locked.status)) throw mayNotBegin(write.principal.workerId, locked.status);
    const number = row.delivery + 1;
    const deliveryId = deliveryIdOf(row.workload_id, number);
    await tx.query(
      `WITH lease AS (UPDATE leases SET delivery = $2, last_heartbeat_at = clock_timestamp() WHERE work_id = $1)
       INSERT INTO deliveries AS d (workload_id, number, delivery_id, executor, worker_id, pool_id, epoch, intent_key_hash)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
       ON CONFLICT (workload_id, number) DO UPDATE SET worker_id = excluded.worker_id, pool_id = excluded.pool_id,
         epoch = excluded.epoch, intent_key_hash = excluded.intent_key_hash, intent_at = clock_timestamp(),
         write = 'intended', written_at = NULL, status = NULL, ended_at = NULL, execution = NULL, finished_by = NULL
       WHERE d.write = 'not_written'`,
      [
        row.workload_id,
        number,
        deliveryId,
        row.executor,
        write.principal.workerId,
        row.pool_id,
        lease.epoch,
        secretHash(intentKey),
      ],
    );
    const change = await applyFact(
      tx,
      row,
      { type: 'intent' },
      {
        actor: `worker:${write.principal.workerId}`,
        wake: false,
        detail: { delivery_id: deliveryId, epoch: Number(lease.epoch) },
      },
    );
    const until = livesByItsLease(row.executor)
      ? await beginCommandLease(tx, change.row, ttlMs)
      : change.row.deadline_at!;
    return granted(change.row, number, until);
  });
}

async function repeatedIntent(
  tx: Queryable,
  row: WorkloadRow,
  lease: LeaseRow,
  intentKey: string,
): Promise<IntentGranted> {
  const [delivery] = await tx.query<{ intent_key_hash: Buffer; write: string }>(
    'SELECT intent_key_hash, write FROM deliveries WHERE workload_id = $1 AND number = $2',
    [row.workload_id, lease.delivery],
  );
  if (delivery?.write === 'intended' && matchesHash(intentKey, delivery.intent_key_hash) && row.state === 'delivered') {
    return granted(row, lease.delivery!, lease.expires_at);
  }
  throw new Problem('delivery.maybe_written', 'An intent is recorded under this lease already.', {
    extra: { state: row.state, wait_ms: waitMs(row) },
  });
}

/** From its intent on, the lease of a command lives by its worker's renewals. Returns until when. */
async function beginCommandLease(tx: Queryable, row: WorkloadRow, ttlMs: number): Promise<Date> {
  const until = new Date(Math.min(row.now.getTime() + ttlMs, row.deadline_at!.getTime()));
  await tx.query('UPDATE leases SET expires_at = $2 WHERE work_id = $1', [row.workload_id, until]);
  return until;
}

const granted = (row: WorkloadRow, number: number, until: Date): IntentGranted => ({
  delivery_number: number,
  delivery_id: deliveryIdOf(row.workload_id, number),
  expires_at: until.toISOString(),
  ttl_ms: Math.max(0, until.getTime() - row.now.getTime()),
});

/**
 * Records what became of the write. Reported once; later reports of the same delivery are answered and change nothing. Of OpenCrow it is
 * heard after the lease's end too: it is knowledge that nobody else has, and no renewal could have kept the lease.
 */
export async function reportWrite(
  db: Database,
  write: FencedWrite,
  report: { write: 'written' | 'unknown'; detail?: string | undefined },
): Promise<LeaseOutcome> {
  return fenced(
    db,
    write,
    'complete',
    async (tx, row, lease) => {
      if (lease.delivery === null)
        throw new Problem('workload.state_conflict', 'No intent is recorded under this lease.');
      await tx.query(
        `WITH reported AS (
           UPDATE deliveries SET write = $3::text, written_at = CASE WHEN $3::text = 'written' THEN clock_timestamp() END
           WHERE workload_id = $1 AND number = $2::int AND write = 'intended' RETURNING delivery_id
         ), heard AS (
           UPDATE leases SET last_heartbeat_at = clock_timestamp() WHERE work_id = $1 AND closed_at IS NULL
         )
         INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
         SELECT $4::text, $1, CASE WHEN $3::text = 'written' THEN 'delivery.written' ELSE 'delivery.maybe_written' END, $5::text,
           jsonb_build_object('delivery', $2::int, 'delivery_id', delivery_id, 'detail', $6::text) FROM reported`,
        [
          row.workload_id,
          lease.delivery,
          report.write,
          row.tenant_id,
          `worker:${write.principal.workerId}`,
          report.detail ?? null,
        ],
      );
      return { state: row.state, wait_ms: waitMs(row) };
    },
    (row) => (livesByItsLease(row.executor) ? 'concluded' : 'ended'),
  );
}

/**
 * Gives the workload back: nothing was handed over, proven. Returns the delivery number too, if there was an intent; the proof holds after the
 * lease's end too. Of a job that a runner has, only the waiting is given back, under a lease that holds: another worker goes on with it.
 */
export async function releaseLease(db: Database, write: FencedWrite, reason: string): Promise<LeaseOutcome> {
  return fenced(
    db,
    write,
    'release',
    async (tx, row, lease) => {
      const resumable = (await commandRunOf(tx, row))?.resumable === true;
      const stale = staleness(lease, write.principal.workerId, write.leaseToken);
      if (resumable && stale !== null) throw new StaleLease(stale, lease, write.leaseToken);
      const handedOn = lease.delivery === null || resumable;
      const back = handedOn ? row : await giveBack(tx, row, lease, write, reason);
      if (back === null) return { state: row.state, wait_ms: waitMs(row) };
      await tx.query(
        `WITH lease AS (
         UPDATE leases SET closed_at = clock_timestamp(), close_reason = 'released', status = 'released'
         WHERE work_id = $1 AND closed_at IS NULL
       )
       INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
       VALUES ($2, $1, 'lease.released', $3, jsonb_build_object('why', $4::text, 'epoch', $5::bigint))`,
        [row.workload_id, row.tenant_id, `worker:${write.principal.workerId}`, reason, lease.epoch],
      );
      return { state: back.state, wait_ms: waitMs(back) };
    },
    'ended',
  );
}

function mayNotBegin(workerId: string, status: WorkerState): Problem {
  return status === 'paused' || status === 'pending'
    ? new Problem(`worker.${status}`, `Worker ${workerId} is ${status} and begins nothing.`)
    : new Problem('auth.required', 'The worker is retired or revoked.');
}

/** After this long, or once the workload went on, the offer may have ended as delivered: its workflow must hear that it was not. */
const LATE_GIVE_BACK_MS = 5_000;

/**
 * Takes a delivery back that was never made. Null when it was taken back before. It is not believed once the write was
 * reported or the executor has shown that it has the delivery.
 */
async function giveBack(
  tx: Queryable,
  row: WorkloadRow,
  lease: LeaseRow,
  write: FencedWrite,
  reason: string,
): Promise<WorkloadRow | null> {
  const [delivery] = await tx.query<{ write: string; late: boolean; heard_of: boolean }>(
    `SELECT write, intent_at < clock_timestamp() - $3::float8 * interval '1 millisecond' AS late,
       target IS NOT NULL OR execution IS NOT NULL OR EXISTS (SELECT 1 FROM lifecycle_events l
         WHERE l.delivery_id = d.delivery_id AND l.effect NOT IN ('mismatch', 'unknown_delivery')) AS heard_of
     FROM deliveries d WHERE workload_id = $1 AND number = $2`,
    [row.workload_id, lease.delivery, LATE_GIVE_BACK_MS],
  );
  if (delivery?.write === 'not_written') return null;
  if (delivery?.write !== 'intended' || delivery.heard_of) {
    throw new Problem('workload.state_conflict', 'The delivery was made: its write or its executor was heard of.');
  }
  await tx.query(
    `UPDATE deliveries SET write = 'not_written', slot_until = NULL, status = NULL WHERE workload_id = $1 AND number = $2`,
    [row.workload_id, lease.delivery],
  );
  const wake = !row.closed && (delivery.late || row.state !== 'delivered');
  const context = { actor: `worker:${write.principal.workerId}`, wake, detail: { why: reason } };
  return (await applyFact(tx, row, { type: 'not_delivered' }, context)).row;
}

/** The worker cannot hand this workload over: refused for good, or one failed attempt. Only before an intent. */
export async function failLease(
  db: Database,
  write: FencedWrite,
  failure: { code: string; detail?: string | undefined; retryable: boolean },
): Promise<LeaseOutcome> {
  return fenced(db, write, 'fail', async (tx, row, lease) => {
    if (lease.delivery !== null)
      throw new Problem('workload.state_conflict', 'An intent is recorded under this lease.');
    if (failure.retryable) await noteWorkerFailure(tx, row.workload_id, 'attempt_failed');
    const change = await applyFact(
      tx,
      row,
      failure.retryable ? { type: 'attempt_failed' } : { type: 'undeliverable', reason: failure.code },
      {
        actor: `worker:${write.principal.workerId}`,
        wake: false,
        detail: { code: failure.code, detail: failure.detail ?? null },
      },
    );
    return { state: change.row.state, wait_ms: waitMs(change.row) };
  });
}
