import type { Requirements } from '../../contracts/requirements';
import { recordIntent, releaseLease } from '../../ledger/deliveries';
import type { WorkerPrincipal } from '../../ledger/workers';
import { FreshLedger, intentKey, problemOf, race, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open({ maxConnections: 12 });
});
afterAll(() => ledger.close());

const setPool = (poolId: string, column: string, value: unknown): Promise<unknown> =>
  ledger.db.query(`UPDATE pools SET ${column} = $2 WHERE pool_id = $1`, [poolId, value]);
const setWorker = ({ workerId }: WorkerPrincipal, column: string, value: unknown): Promise<unknown> =>
  ledger.db.query(`UPDATE workers SET ${column} = $2 WHERE worker_id = $1`, [workerId, value]);
const setWork = (workId: string, column: string, value: unknown): Promise<unknown> =>
  ledger.db.query(`UPDATE workloads SET ${column} = $2 WHERE workload_id = $1`, [workId, value]);

async function requiring(worker: WorkerPrincipal, requires: Requirements): Promise<string> {
  const workId = await ledger.admitted({ pool: worker.poolId });
  await setWork(workId, 'requires', requires);
  return workId;
}

describe('a pool that bounds its concurrent work', () => {
  test('of many workers that claim at once exactly as many as it may hold get a unit', async () => {
    const pool = ledger.unique('pool');
    const workers = await Promise.all(Array.from({ length: 8 }, () => ledger.enrol({ pool })));
    await setPool(pool, 'max_concurrent_work', 3);
    const workIds = await Promise.all(workers.map(() => ledger.admitted({ pool })));
    const answers = await race(workers.map((worker, index) => () => ledger.claim(worker, workIds[index]!)));
    const won = answers.flatMap((answer) => (typeof answer === 'string' ? [] : [answer]));
    expect(won).toHaveLength(3);
    expect(answers.filter((answer) => typeof answer === 'string')).toEqual(Array(5).fill('capacity.pool'));

    // Under way they count as before, and so does what was cancelled under way; what ended or was given back does not.
    const [ended, cancelled, given] = won;
    for (const { write } of [ended!, cancelled!]) await recordIntent(ledger.db, write, intentKey());
    await ledger.operate(cancelled!.write.workId, { action: 'cancel' });
    const idle = workers.findIndex((_worker, index) => typeof answers[index] === 'string');
    const next = (): Promise<unknown> => ledger.claim(workers[idle]!, workIds[idle]!);
    expect(await problemOf(next())).toMatchObject({ code: 'capacity.pool', extra: { limit: 3, used: 3 } });
    await ledger.report(ended!.write.principal, ended!.write.workId, 'completed');
    await releaseLease(ledger.db, given!.write, 'draining');
    await next();
    await setPool(pool, 'max_concurrent_work', 2);
    expect(await problemOf(ledger.claim(given!.write.principal, given!.write.workId))).toMatchObject({
      code: 'capacity.pool',
      extra: { limit: 2, used: 2 },
    });
  });

  test('its own lease does not keep a worker from claiming the unit again', async () => {
    const worker = await ledger.enrol();
    await setPool(worker.poolId, 'max_concurrent_work', 1);
    const workId = await ledger.admitted({ pool: worker.poolId });
    await ledger.claim(worker, workId);
    expect((await ledger.claim(worker, workId)).claim.epoch).toBe(2);
  });
});

test.each(['paused', 'retired'])('a %s pool hands out nothing, and says when to ask again', async (status) => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  await setPool(worker.poolId, 'status', status);
  const problem = await problemOf(ledger.claim(worker, workId));
  expect(problem.code).toBe('pool.not_active');
  expect(problem.retryAfterMs).toBeGreaterThan(1000);
  await setPool(worker.poolId, 'status', 'active');
  await ledger.claim(worker, workId);
});

describe('what a unit requires', () => {
  const REQUIRES: Requirements = { flags: ['gpu', 'eu'], profile: 'triage', provider: 'local', region: 'eu-1' };

  test('is met by what the worker and its pool declare together', async () => {
    const worker = await ledger.enrol();
    const workId = await requiring(worker, REQUIRES);
    const lacks = async (): Promise<string> => (await problemOf(ledger.claim(worker, workId))).message;
    expect(await lacks()).toBe(
      `Worker ${worker.workerId} has not declared flag gpu, flag eu, profile triage, provider local, region eu-1.`,
    );
    await setPool(worker.poolId, 'capabilities', { flags: ['eu'], providers: ['local'] });
    await setPool(worker.poolId, 'region', 'eu-1');
    expect(await lacks()).toBe(`Worker ${worker.workerId} has not declared flag gpu, profile triage.`);
    await setWorker(worker, 'capabilities', { flags: ['gpu'], profiles: ['triage'], other: { deep: 1 } });
    await setWorker(worker, 'region', 'us-1');
    expect(await lacks()).toBe(`Worker ${worker.workerId} has not declared region eu-1.`);
    await setWorker(worker, 'region', null);
    await ledger.claim(worker, workId);
  });

  test('and is not met counts no attempt, leaves no lease, and says when to ask again', async () => {
    const worker = await ledger.enrol();
    const workId = await requiring(worker, { flags: ['gpu'] });
    for (let round = 0; round < 5; round += 1) {
      const problem = await problemOf(ledger.claim(worker, workId));
      expect(problem).toMatchObject({ code: 'worker.incompatible', status: 403 });
      expect(problem.retryAfterMs).toBeGreaterThan(1000);
    }
    expect(await ledger.lease(workId)).toBeNull();
    expect(await ledger.workload(workId)).toMatchObject({ state: 'queued', attempts: 0 });
  });

  test.each([[null], ['text'], [[1]], [{ flags: 'gpu' }], [{ flags: { gpu: true } }], [{ flags: [null, 1] }]])(
    'is not met by a declaration of another shape: %j',
    async (capabilities) => {
      const worker = await ledger.enrol();
      const workId = await requiring(worker, { flags: ['gpu'] });
      await setWorker(worker, 'capabilities', JSON.stringify(capabilities));
      expect(await refusal(ledger.claim(worker, workId))).toBe('worker.incompatible');
    },
  );
});

test('a unit with a checkpoint goes only to workers that read its schema', async () => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  await setWork(workId, 'checkpoint_schema', 2);
  await setWorker(worker, 'checkpoint_schemas', [1]);
  expect(await refusal(ledger.claim(worker, workId))).toBe('worker.incompatible');
  await setWorker(worker, 'checkpoint_schemas', [1, 2]);
  await ledger.claim(worker, workId);
});

test('a worker that does not fit its pool any more gets nothing, whatever its heartbeat was told', async () => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  await setPool(worker.poolId, 'compatibility', { min_version: '2.0.0', flags: ['new'] });
  await setWorker(worker, 'version', '1.9.0');
  expect(await refusal(ledger.claim(worker, workId))).toBe('worker.incompatible');
  await setWorker(worker, 'version', '2.0.0');
  expect(await refusal(ledger.claim(worker, workId))).toBe('worker.incompatible');
  await setWorker(worker, 'capabilities', { flags: ['new'] });
  await ledger.claim(worker, workId);
});
