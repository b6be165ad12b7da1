import type { Requirements } from '../../contracts/requirements';
import { PolicyInvalid } from '../../domain/policy/policy-invalid';
import { noteCapacity } from '../../ledger/capacity';
import { explainWorkload } from '../../ledger/explanation';
import { FreshLedger, problemOf, type TestRule } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

/** A flag that no other test's pools have. */
const aFlag = (): string => ledger.unique('flag');

/** Makes a pool of these capabilities, with a worker that was heard of if it is to be `ready`. */
async function pool(
  capabilities: object,
  { ready = false, region = null as string | null, tenants = null as string[] | null } = {},
): Promise<string> {
  const principal = await ledger.enrol();
  await ledger.db.query('UPDATE pools SET capabilities = $2, region = $3, tenants = $4 WHERE pool_id = $1', [
    principal.poolId,
    capabilities,
    region,
    tenants,
  ]);
  if (ready) await heard(principal.workerId);
  return principal.poolId;
}

const heard = (workerId: string, executors = ['opencrow']): Promise<unknown> =>
  ledger.db.query('UPDATE workers SET last_heartbeat_at = clock_timestamp(), executors = $2 WHERE worker_id = $1', [
    workerId,
    executors,
  ]);

/** Admits an event whose rule names no pool. */
async function sent(requires: Requirements, rule: TestRule = {}): Promise<{ workId: string; pool: string | null }> {
  const workId = await ledger.admitted({ pool: null, requires, ...rule });
  return { workId, pool: (await ledger.workload(workId)).pool_id };
}

/** The last sentence of a workload's explanation. */
async function lastWord(workloadId: string): Promise<string> {
  const compile = (): Promise<never> => Promise.reject(new PolicyInvalid([]));
  return (await explainWorkload(ledger.db, compile, { tenantId: 'default', workloadId }))!.summary.at(-1)!;
}

describe('a rule that requires something and names no pool', () => {
  test('sends the work to an active pool that declares all of it', async () => {
    const flag = aFlag();
    await pool({ flags: [flag] });
    const full = await pool(
      { flags: [flag, 'gpu'], profiles: ['triage'], providers: ['local'], more: 1 },
      { region: 'eu' },
    );
    const requires = { flags: ['gpu', flag], profile: 'triage', provider: 'local', region: 'eu' };
    const { workId, pool: chosen } = await sent(requires);
    expect(chosen).toBe(full);
    expect(await ledger.workload(workId)).toMatchObject({ state: 'queued', requires });
  });

  test('prefers one whose workers are there, then the shortest queue, then the first by name', async () => {
    const flag = aFlag();
    const [first, second] = [await pool({ flags: [flag] }), await pool({ flags: [flag] })].sort();
    expect((await sent({ flags: [flag] })).pool).toBe(first);
    expect((await sent({ flags: [flag] })).pool).toBe(second);
    expect((await sent({ flags: [flag] })).pool).toBe(first);
    const ready = await pool({ flags: [flag] }, { ready: true });
    for (let count = 0; count < 3; count += 1) expect((await sent({ flags: [flag] })).pool).toBe(ready);
    expect((await sent({ flags: [flag] }, { executor: 'node' })).pool).toBe(second);
  });

  test('refuses the work when there is no such pool, keeps no dedupe key for it, and it can be handed over later', async () => {
    const flag = aFlag();
    const elsewhere = await pool({ flags: [flag] }, { tenants: ['somebody'] });
    const paused = await pool({ flags: [flag] });
    await ledger.db.query("UPDATE pools SET status = 'paused' WHERE pool_id = $1", [paused]);
    const dedupe = { key: ledger.unique('key'), window: 60_000 };
    const { workId } = await sent({ flags: [flag] }, { dedupe });
    expect(await ledger.workload(workId)).toMatchObject({
      state: 'refused',
      reason: 'no_pool',
      closed: true,
      pool_id: null,
    });
    expect(await lastWord(workId)).toBe(
      `No active pool that serves the tenant declares what it requires: flag ${flag}. When one does, redeliver it.`,
    );
    const redeliver = (): Promise<unknown> => ledger.operate(workId, { action: 'redeliver' });
    expect(await problemOf(redeliver())).toMatchObject({ code: 'workload.state_conflict', extra: { why: 'no_pool' } });
    expect((await ledger.workload(workId)).state).toBe('refused');

    await ledger.db.query("UPDATE pools SET status = 'active' WHERE pool_id = $1", [paused]);
    expect((await sent({ flags: [flag] }, { dedupe })).pool).toBe(paused);
    await ledger.db.query('UPDATE dedupe_claims SET open = false, window_until = clock_timestamp()');
    await redeliver();
    expect(await ledger.workload(workId)).toMatchObject({ state: 'queued', pool_id: paused });
    expect(paused).not.toBe(elsewhere);
  });

  test('that was held is refused at once too', async () => {
    const { workId } = await sent({ flags: [aFlag()] }, { decision: 'hold' });
    expect(await ledger.workload(workId)).toMatchObject({ state: 'refused', reason: 'no_pool' });
  });

  test('takes no place in a lane when it is refused, and passes the lanes when it is handed over after all', async () => {
    const flag = aFlag();
    const flow = { concurrency: { max: 1, keyed: false } } as TestRule['flow'];
    const rule = { id: ledger.unique('rule'), flow, flowKeys: {} } as TestRule;
    const { workId } = await sent({ flags: [flag] }, rule);
    const places = (): Promise<object[]> =>
      ledger.db.query('SELECT 1 FROM lane_places WHERE workload_id = $1', [workId]);
    expect(await places()).toEqual([]);
    await pool({ flags: [flag] });
    await ledger.operate(workId, { action: 'redeliver' });
    expect(await places()).toHaveLength(1);
  });
});

test('a pool that is named is kept, whatever is required', async () => {
  const named = await pool({});
  const { pool: chosen } = await sent({ flags: [aFlag()] }, { pool: named });
  expect(chosen).toBe(named);
});

describe('no_capacity tells of queued work that nobody can have', () => {
  /** A queued workload, and what it says after the sweep looked. */
  async function watched(rule: TestRule = {}): Promise<{
    principal: Awaited<ReturnType<FreshLedger['enrol']>>;
    workId: string;
    reason: () => Promise<string>;
  }> {
    const principal = await ledger.enrol();
    await heard(principal.workerId);
    const workId = await ledger.admitted({ pool: principal.poolId, ...rule });
    const reason = async (): Promise<string> => {
      await noteCapacity(ledger.db, 0);
      return (await ledger.workload(workId)).reason;
    };
    return { principal, workId, reason };
  }
  const set = (table: string, id: string, column: string, value: unknown): Promise<unknown> =>
    ledger.db.query(`UPDATE ${table}s SET ${column} = $2 WHERE ${table}_id = $1`, [id, value]);

  test('and the explanation says why, without naming workers', async () => {
    const { principal, workId } = await watched({ requires: { flags: ['gpu'] } });
    const explained = (): Promise<string> => lastWord(workId);
    expect(await explained()).toBe('Nobody can claim it: of 1 active worker each has not declared flag gpu.');
    await set('worker', principal.workerId, 'capabilities', { flags: ['gpu'] });
    expect(await explained()).toBe('1 of 1 active worker may claim it.');
    await set('worker', principal.workerId, 'status', 'paused');
    expect(await explained()).toContain('its pool has no active worker that was heard of');
    await set('pool', principal.poolId, 'status', 'paused');
    expect(await explained()).toBe('Nobody can claim it: its pool is paused.');
  });

  test.each(['paused', 'retired'])('when its pool is %s, until it is active', async (status) => {
    const { principal, reason } = await watched();
    expect(await reason()).toBe('test-rule');
    await set('pool', principal.poolId, 'status', status);
    expect(await reason()).toBe('no_capacity');
    await set('pool', principal.poolId, 'status', 'active');
    expect(await reason()).toBe('waiting_for_worker');
  });

  test('when no worker has declared what it requires, or reads its checkpoint, or fits the pool', async () => {
    const { principal, workId, reason } = await watched({ requires: { flags: ['gpu'] } });
    expect(await reason()).toBe('no_capacity');
    await set('worker', principal.workerId, 'capabilities', { flags: ['gpu'] });
    expect(await reason()).toBe('waiting_for_worker');
    await set('workload', workId, 'checkpoint_schema', 3);
    expect(await reason()).toBe('no_capacity');
    await set('worker', principal.workerId, 'checkpoint_schemas', [3]);
    expect(await reason()).toBe('waiting_for_worker');
    await set('pool', principal.poolId, 'compatibility', { min_protocol: 2 });
    expect(await reason()).toBe('no_capacity');
    await set('worker', principal.workerId, 'protocol_version', 2);
    expect(await reason()).toBe('waiting_for_worker');
  });

  test('and says nothing of other work in the same pool', async () => {
    const { principal, reason } = await watched();
    const other = await ledger.admitted({ pool: principal.poolId, requires: { region: 'mars' } });
    expect(await reason()).toBe('test-rule');
    expect((await ledger.workload(other)).reason).toBe('no_capacity');
  });
});
