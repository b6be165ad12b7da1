import { waitUntilIdle } from '../../cli/fleet/wait-until-idle';
import { giveOrder } from '../../cli/fleet/worker-order';
import { workerReport, workersReport } from '../../cli/fleet/worker-report';
import { poolReport, poolsReport } from '../../cli/fleet/pool-report';
import { createPool, updatePool } from '../../ledger/pools';
import { registerWorker } from '../../ledger/register-worker';
import { eventually } from '../support/eventually';
import { FreshLedger, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => (ledger = await FreshLedger.open()));
afterAll(() => ledger.close());

const never = new AbortController().signal;

describe('a list of workers', () => {
  test('says of each how it is, and lets no name steer the terminal', async () => {
    const { workerId, poolId } = await ledger.enrol({ maxOpenDeliveries: 3 });
    await giveOrder(ledger.db, workerId, 'pause', { reason: 'kernel\n\u001b[2J\u202eupdate' });
    await ledger.db.query(
      `UPDATE workers SET last_heartbeat_at = clock_timestamp() - interval '2 minutes', version = E'1.4\\u001b]0;x\\u0007',
         current_load = 2, last_error_code = 'node.not_ready', suspect_since = clock_timestamp() - interval '1 hour' WHERE worker_id = $1`,
      [workerId],
    );
    const { text, json } = await workersReport(ledger.db, { pool: poolId });
    const [head, row, ...more] = text.split('\n');
    expect(more).toEqual([]);
    expect(head).toMatch(/^WORKER +POOL +STATE +OFFERS +OPEN +LOAD +HEARTBEAT +VERSION +SUSPECT +ERROR +REASON$/);
    expect(row).toMatch(
      / paused +opencrow +0\/3 +2 +2m(\ds)? +1\.4 \]0;x +1h(\ds)? +node\.not_ready +kernel \[2J update$/,
    );
    expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Cf}/u);
    expect(json).toMatchObject({ workers: [{ worker_id: workerId, status: 'paused' }], more: false });
    expect((await workersReport(ledger.db, { pool: poolId, state: 'active' })).json).toEqual({
      workers: [],
      more: false,
    });
  });

  test('the view of one names what it holds and its credentials, without a secret', async () => {
    const { principal, workId, claim } = await ledger.delivered();
    const { text, json } = await workerReport(ledger.db, principal.workerId);
    expect(text).toContain('has to              work');
    expect(text).toMatch(new RegExp(`HOLDS .*\\n${workId} +${claim.epoch} +20\\S+Z \\(in .*\\) +1 +20\\S+Z`));
    expect(text).toMatch(new RegExp(`${principal.credentialId} +…\\S{4} +live `));
    expect(text + JSON.stringify(json)).not.toMatch(/olt_|oww_|token_hash/);
    expect(json).toMatchObject({ worker: { open_leases: 1 }, held: [{ work_id: workId, epoch: Number(claim.epoch) }] });
    await expect(workerReport(ledger.db, 'nobody')).rejects.toThrow('there is no worker "nobody"');
  });
});

describe('an order', () => {
  test('says what happens next, and again that nothing changed', async () => {
    const { principal, workId } = await ledger.delivered();
    const drained = await giveOrder(ledger.db, principal.workerId, 'drain', { reason: 'update' });
    expect(drained.text).toMatch(
      /is draining; it was active\nit takes nothing new; 1 unit still held, then its process ends with 0; see `workloadd workers list --watch`$/,
    );
    expect(drained.json).toMatchObject({ previous: 'active', changed: true, held: [{ work_id: workId }] });
    expect((await giveOrder(ledger.db, principal.workerId, 'drain')).text).toContain('was draining already');
    expect(await refusal(giveOrder(ledger.db, principal.workerId, 'retire'))).toBe('worker.holds_leases');
    const revoked = await giveOrder(ledger.db, principal.workerId, 'revoke', { reason: 'stolen' });
    expect(revoked.text).toMatch(
      /is revoked; it was draining\nits credentials open nothing.*\nheld yet: 1 lease, the last of which runs out in .*\n1 delivery may go on/,
    );
    expect((await workerReport(ledger.db, principal.workerId)).text).toContain(' shut out ');
    expect(await refusal(giveOrder(ledger.db, principal.workerId, 'activate'))).toBe('worker.state_conflict');
    expect(
      await ledger.db.query("SELECT detail->>'reason' AS reason, actor FROM audit WHERE type = 'worker.revoked'"),
    ).toEqual([{ reason: 'stolen', actor: 'cli' }]);
  });

  test('to begin says when the pool keeps it from work', async () => {
    const pool = { pool_id: ledger.unique('pool'), name: 'p', mode: 'self_hosted' } as const;
    await createPool(ledger.db, pool, { actor: 'test' });
    const { worker_id } = await registerWorker(
      ledger.db,
      { pool_id: pool.pool_id, display_name: 'new' },
      { actor: 'test' },
    );
    expect((await giveOrder(ledger.db, worker_id, 'activate')).text).toContain('it was never heard of: start it');
    await giveOrder(ledger.db, worker_id, 'drain');
    expect((await giveOrder(ledger.db, worker_id, 'resume')).text).toContain('has ended: start it again');
    await updatePool(ledger.db, pool.pool_id, { status: 'paused' }, { actor: 'test' });
    expect((await giveOrder(ledger.db, worker_id, 'activate')).text).toContain(`pool ${pool.pool_id} is paused`);
    expect((await poolsReport(ledger.db, { state: 'paused' })).text).toMatch(/ paused +self_hosted .* 1 active/);
    expect((await poolReport(ledger.db, pool.pool_id)).text).toMatch(/state +paused\n[^]*\nWORKER .*\nmworker_/);
  });
});

describe('waiting for a drained worker', () => {
  test('ends when nothing is held, and tells what is', async () => {
    const { principal, workId } = await ledger.delivered();
    await giveOrder(ledger.db, principal.workerId, 'drain');
    const lines: string[] = [];
    const options = { timeoutMs: 30_000, onProgress: (line: string) => lines.push(line), signal: never, pollMs: 20 };
    const waiting = waitUntilIdle(ledger.db, [principal.workerId], options);
    await eventually(() => expect(lines).toEqual([`1 unit still held: ${workId}`]));
    await ledger.report(principal, workId, 'running');
    await ledger.report(principal, workId, 'completed');
    await waiting;
    expect(lines).toHaveLength(1);
  });

  test('fails when the time is over, when somebody resumes it, and when it is cut short', async () => {
    const { principal, workId } = await ledger.delivered();
    const { workerId } = principal;
    await giveOrder(ledger.db, workerId, 'drain');
    const wait = (timeoutMs: number, signal = never): Promise<void> =>
      waitUntilIdle(ledger.db, [workerId], { timeoutMs, signal, onProgress: () => undefined, pollMs: 20 });
    await expect(wait(0)).rejects.toThrow(`1 unit still held: ${workId} after 0s; the order stands`);
    await expect(wait(30_000, AbortSignal.abort())).rejects.toThrow('not waited for any more');
    const waiting = expect(wait(30_000)).rejects.toThrow(`worker ${workerId} is active again`);
    await giveOrder(ledger.db, workerId, 'resume');
    await waiting;
  });
});
