import type { WorkerState } from '../../contracts/terminology';
import { failLease } from '../../ledger/deliveries';
import { noteWatching } from '../../ledger/fleet-watch';
import { DEFAULT_FLEET, sweepFleet } from '../../ledger/fleet-sweep';
import { heartbeat } from '../../ledger/worker-heartbeat';
import { orderWorker } from '../../ledger/worker-orders';
import type { WorkerPrincipal } from '../../ledger/workers';
import { FreshLedger, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
/** The last row of the audit before a test. */
let mark = 0;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

/** No test sees the workers of another. */
beforeEach(async () => {
  await ledger.db.query("UPDATE workers SET status = 'retired'");
  await ledger.db.query('UPDATE worker_credentials SET expiry_noted_at = clock_timestamp()');
  await ledger.db.query('UPDATE leases SET closed_at = clock_timestamp() WHERE closed_at IS NULL');
  await ledger.db.query('DELETE FROM fleet_watch');
  await ledger.db.query('DELETE FROM worker_failures');
  const [last] = await ledger.db.query<{ seq: number }>('SELECT coalesce(max(seq), 0)::int AS seq FROM audit');
  mark = last!.seq;
});

const NODE: TestRule = { executor: 'node' };
const sweep = (): Promise<number> => sweepFleet(ledger.db, DEFAULT_FLEET);

/** An api has received heartbeats for long. */
async function watchedForLong(): Promise<void> {
  await noteWatching(ledger.db);
  await ledger.db.query("UPDATE fleet_watch SET since = since - interval '1 hour'");
}

/** Sweeps while an api has been there for long and is. */
async function sweepWatched(): Promise<number> {
  await watchedForLong();
  return sweep();
}

/** The worker's last heartbeat, and its last move, were so long ago. */
const lastHeard = (workerId: string, ago: string): Promise<unknown> =>
  ledger.db.query(
    `UPDATE workers SET last_heartbeat_at = clock_timestamp() - $2::interval,
       status_changed_at = clock_timestamp() - interval '1 hour' WHERE worker_id = $1`,
    [workerId, ago],
  );

async function stands(workerId: string): Promise<{ status: WorkerState; reason: string | null }> {
  const [row] = await ledger.db.query<{ status: WorkerState; reason: string | null }>(
    'SELECT status, status_reason AS reason FROM workers WHERE worker_id = $1',
    [workerId],
  );
  return row!;
}

const audited = async (type: string): Promise<Record<string, unknown>[]> =>
  (
    await ledger.db.query<{ detail: Record<string, unknown> }>(
      "SELECT detail FROM audit WHERE type = $1 AND seq > $2 AND detail ->> 'reason' IS DISTINCT FROM 'enrolled' ORDER BY seq",
      [type, mark],
    )
  ).map(({ detail }) => detail);

test('active and draining workers that were not heard of for a minute are unhealthy, told once by however many sweep', async () => {
  await watchedForLong();
  const names = ['active', 'draining', 'paused', 'heard', 'pending'] as const;
  const workers = new Map<string, WorkerPrincipal>();
  for (const name of names) workers.set(name, await ledger.enrol({ workerId: name }));
  await ledger.db.transaction((tx) => orderWorker(tx, 'draining', 'drain', { actor: 'test' }));
  await ledger.db.transaction((tx) => orderWorker(tx, 'paused', 'pause', { actor: 'test' }));
  await ledger.db.query("UPDATE workers SET status = 'pending' WHERE worker_id = 'pending'");
  for (const name of names) await lastHeard(name, name === 'heard' ? '50 seconds' : '61 seconds');

  const changed = await Promise.all([sweep(), sweep(), sweep(), sweep()]);
  expect(changed.reduce((sum, each) => sum + each, 0)).toBe(2);
  expect(await stands('active')).toEqual({ status: 'unhealthy', reason: 'heartbeat_missed' });
  expect(await stands('draining')).toEqual({ status: 'unhealthy', reason: 'heartbeat_missed' });
  for (const name of ['paused', 'pending'] as const) expect((await stands(name)).status).toBe(name);
  expect((await stands('heard')).status).toBe('active');
  const told = await audited('worker.unhealthy');
  expect(told).toHaveLength(2);
  expect(told).toContainEqual({
    worker_id: 'draining',
    pool_id: 'pool-of-draining',
    status: 'unhealthy',
    previous: 'draining',
    reason: 'heartbeat_missed',
  });
});

test('after the control plane was away, workers have their whole time again', async () => {
  const worker = await ledger.enrol();
  await watchedForLong();
  await lastHeard(worker.workerId, '10 minutes');
  // Nobody could receive heartbeats: silence means nothing now, nor right after.
  await ledger.db.query("UPDATE fleet_watch SET seen_at = seen_at - interval '5 minutes'");
  expect(await sweep()).toBe(0);
  await noteWatching(ledger.db);
  expect(await sweep()).toBe(0);
  expect((await stands(worker.workerId)).status).toBe('active');
  // It goes on being silent although it could be heard.
  await ledger.db.query("UPDATE fleet_watch SET since = since - interval '61 seconds'");
  await noteWatching(ledger.db);
  expect(await sweep()).toBe(1);
  expect(await stands(worker.workerId)).toEqual({ status: 'unhealthy', reason: 'heartbeat_missed' });
});

test('a ledger that no api has ever watched condemns nobody', async () => {
  const worker = await ledger.enrol();
  await lastHeard(worker.workerId, '10 minutes');
  expect(await sweep()).toBe(0);
});

test('a worker is unhealthy after three leases that ended through it, of whatever kind, each counted once', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 9 });
  // One whose command was lost, by its workflow and by the sweep.
  const lost = await ledger.delivered({ ...NODE, pool: worker.poolId }, { principal: worker });
  await ledger.outliveLease(lost.workId);
  await sweepWatched();
  await ledger.settle(lost.workId);
  // One that ran out before its intent and that its worker claims again.
  const again = await ledger.admitted({ pool: worker.poolId });
  await ledger.claim(worker, again);
  await ledger.outliveLease(again);
  await ledger.claim(worker, again);
  await sweepWatched();
  expect((await stands(worker.workerId)).status).toBe('active');
  // One that nobody claims any more.
  const left = await ledger.admitted({ pool: worker.poolId });
  await ledger.claim(worker, left);
  await ledger.outliveLease(left);
  expect(await sweepWatched()).toBe(1);
  expect(await stands(worker.workerId)).toEqual({ status: 'unhealthy', reason: 'leases_lost' });
});

test('three units that a worker says it cannot hand over make it unhealthy, and one unit does not, however often', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 9 });
  const failing = async (workId: string): Promise<void> => {
    const { write } = await ledger.claim(worker, workId);
    await failLease(ledger.db, write, { code: 'no_runtime', retryable: true });
  };
  const poison = await ledger.admitted({ pool: worker.poolId });
  await failing(poison);
  await failing(poison);
  await failing(await ledger.admitted({ pool: worker.poolId }));
  expect(await sweepWatched()).toBe(0);
  await failing(await ledger.admitted({ pool: worker.poolId }));
  expect(await sweepWatched()).toBe(1);
  expect(await stands(worker.workerId)).toEqual({ status: 'unhealthy', reason: 'leases_lost' });
});

test('leases that ran out are all noted, however many were before them', async () => {
  const many = await ledger.enrol({ maxOpenDeliveries: 9 });
  const loser = await ledger.enrol({ maxOpenDeliveries: 9 });
  const ranOut = async (worker: WorkerPrincipal): Promise<string> => {
    const workId = await ledger.admitted({ pool: worker.poolId });
    await ledger.claim(worker, workId);
    await ledger.outliveLease(workId);
    return workId;
  };
  const one = await ranOut(many);
  await ledger.db.query(
    `WITH n AS (SELECT n, 'wl_copy_' || n AS id FROM generate_series(1, 500) n), copies AS (
       INSERT INTO workloads (workload_id, tenant_id, source, event_id, action)
       SELECT n.id, tenant_id, source, n.id, action FROM n, workloads WHERE workload_id = $1 RETURNING workload_id)
     INSERT INTO leases (work_id, tenant_id, epoch, token_hash, worker_id, credential_id, claimed_at, expires_at)
     SELECT c.workload_id, tenant_id, epoch, token_hash, worker_id, credential_id, claimed_at, expires_at - interval '1 minute'
     FROM copies c, leases WHERE work_id = $1`,
    [one],
  );
  for (let round = 0; round < 3; round += 1) await ranOut(loser);
  await sweepWatched();
  await sweepWatched();
  expect(await stands(loser.workerId)).toEqual({ status: 'unhealthy', reason: 'leases_lost' });
});

test('leases that ran out while no api could be reached are no losses of their workers', async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 9 });
  await lastHeard(worker.workerId, '1 second');
  for (let round = 0; round < 3; round += 1) {
    const { workId } = await ledger.delivered({ ...NODE, pool: worker.poolId }, { principal: worker });
    await ledger.db.query("UPDATE leases SET expires_at = clock_timestamp() - interval '1 minute' WHERE work_id = $1", [
      workId,
    ]);
  }
  await ledger.db.query(
    `INSERT INTO fleet_watch (since, seen_at)
     VALUES (clock_timestamp() - interval '1 hour', clock_timestamp() - interval '80 seconds')`,
  );
  expect(await sweepFleet(ledger.db, DEFAULT_FLEET)).toBe(0);
  await noteWatching(ledger.db);
  expect(await sweepFleet(ledger.db, DEFAULT_FLEET)).toBe(0);
  expect((await stands(worker.workerId)).status).toBe('active');
});

test("a unit's own failures and deadlines are not its worker's, nor is what was before it was made active again", async () => {
  const worker = await ledger.enrol({ maxOpenDeliveries: 9 });
  for (let round = 0; round < 4; round += 1) {
    await ledger.db.query('UPDATE workers SET suspect_since = NULL');
    const { workId } = await ledger.delivered({ pool: worker.poolId }, { principal: worker });
    await ledger.elapse(workId);
    await ledger.settle(workId);
  }
  expect(await sweepWatched()).toBe(0);
  const ranOut = async (): Promise<void> => {
    const workId = await ledger.admitted({ pool: worker.poolId });
    await ledger.claim(worker, workId);
    await ledger.outliveLease(workId);
  };
  await ledger.db.query('UPDATE workers SET suspect_since = NULL');
  for (let round = 0; round < 3; round += 1) await ranOut();
  expect(await sweepWatched()).toBe(1);
  await ledger.db.transaction((tx) => orderWorker(tx, worker.workerId, 'activate', { actor: 'test' }));
  expect(await sweepWatched()).toBe(0);
  await ranOut();
  expect(await sweepWatched()).toBe(0);
});

test('where the pool says so, a worker recovers by a heartbeat; one that lost leases when that is ten minutes ago', async () => {
  await watchedForLong();
  const silent = await ledger.enrol();
  const loser = await ledger.enrol({ maxOpenDeliveries: 9 });
  await lastHeard(silent.workerId, '2 minutes');
  for (let round = 0; round < 3; round += 1) {
    const workId = await ledger.admitted({ pool: loser.poolId });
    await ledger.claim(loser, workId);
    await ledger.outliveLease(workId);
  }
  expect(await sweepWatched()).toBe(2);
  expect(await heartbeat(ledger.db, silent, {})).toMatchObject({ status: 'active', duty: 'work' });
  expect(await heartbeat(ledger.db, loser, {})).toMatchObject({ status: 'unhealthy', duty: 'wait' });
  await ledger.db.query("UPDATE worker_failures SET at = at - interval '10 minutes'");
  expect(await heartbeat(ledger.db, loser, {})).toMatchObject({ status: 'active', duty: 'work' });
  expect((await audited('worker.active')).map(({ reason }) => reason)).toEqual(['auto_recover', 'auto_recover']);

  await ledger.db.query('UPDATE pools SET auto_recover = false WHERE pool_id = $1', [silent.poolId]);
  await lastHeard(silent.workerId, '2 minutes');
  expect(await sweepWatched()).toBe(1);
  expect(await heartbeat(ledger.db, silent, {})).toMatchObject({ status: 'unhealthy', duty: 'wait' });
});

test('a worker that was told to drain drains on when it is heard of again, and takes nothing new', async () => {
  await watchedForLong();
  const worker = await ledger.enrol();
  const order = (move: 'drain' | 'activate') =>
    ledger.db.transaction((tx) => orderWorker(tx, worker.workerId, move, { actor: 'test' }));
  await order('drain');
  await lastHeard(worker.workerId, '2 minutes');
  expect(await sweep()).toBe(1);
  expect(await heartbeat(ledger.db, worker, {})).toMatchObject({ status: 'draining', duty: 'drain' });
  await order('activate');
  await lastHeard(worker.workerId, '2 minutes');
  expect(await sweep()).toBe(1);
  expect(await heartbeat(ledger.db, worker, {})).toMatchObject({ status: 'active', duty: 'work' });
});

test('an expired credential is told once, and one that was revoked before is not', async () => {
  const worker = await ledger.enrol();
  const revoked = await ledger.enrol();
  await ledger.db.query('UPDATE worker_credentials SET revoked_at = clock_timestamp() WHERE worker_id = $1', [
    revoked.workerId,
  ]);
  await ledger.db.query("UPDATE worker_credentials SET expires_at = clock_timestamp() - interval '1 second'");
  await Promise.all([sweep(), sweep(), sweep()]);
  await sweep();
  expect(await audited('worker.credential_expired')).toEqual([
    { worker_id: worker.workerId, pool_id: worker.poolId, credential_id: worker.credentialId },
  ]);
});

test('what is noted of failures is kept for an hour', async () => {
  const worker = await ledger.enrol();
  const { workId } = await ledger.delivered({ ...NODE, pool: worker.poolId }, { principal: worker });
  await ledger.outliveLease(workId);
  await sweep();
  expect(await ledger.db.query('SELECT 1 FROM worker_failures')).toHaveLength(1);
  await ledger.settle(workId);
  await ledger.db.query("UPDATE worker_failures SET at = at - interval '61 minutes'");
  await sweep();
  expect(await ledger.db.query('SELECT 1 FROM worker_failures')).toHaveLength(0);
});
