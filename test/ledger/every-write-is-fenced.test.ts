import { newLeaseToken } from '../../ledger/lease';
import type { FencedWrite } from '../../ledger/fenced-write';
import { releaseLease } from '../../ledger/deliveries';
import { FreshLedger, problemOf, refusal, type Delivered } from '../support/fresh-ledger';
import { WORK_WRITES } from '../support/work-writes';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const begun = (given: Parameters<FreshLedger['delivered']>[1] = {}): Promise<Delivered> =>
  ledger.delivered({ executor: 'managed' }, given);

const TABLES = ['work_events', 'work_records', 'work_projections', 'work_checkpoints'];

/** Everything a write could change; the refusal's own audit row left out. */
async function standing(workId: string): Promise<unknown> {
  const written = await Promise.all(
    TABLES.map((table) => ledger.db.query(`SELECT * FROM ${table} WHERE workload_id = $1`, [workId])),
  );
  const audit = (await ledger.audit(workId)).filter((row) => row.type !== 'lease.stale_write_rejected');
  const lease = { ...(await ledger.lease(workId)), now: null };
  return { written, audit, lease, workload: { ...(await ledger.workload(workId)), now: null } };
}

const setStatus = (workerId: string, status: string): Promise<unknown> =>
  ledger.db.query('UPDATE workers SET status = $2 WHERE worker_id = $1', [workerId, status]);

interface Case {
  why: string;
  /** The epoch that the token names. */
  presented: number | null;
  write: FencedWrite;
}

/** Ways in which a write comes too late or from somebody else, and what the audit says of each. */
const CASES: Record<string, () => Promise<Case>> = {
  'the token of an older epoch': async () => {
    const first = await begun();
    await ledger.outliveLease(first.workId);
    await ledger.db.query(
      "UPDATE workloads SET terms = jsonb_set(terms, '{redeliverOn}', '[\"lost\"]'), max_deliveries = 2 WHERE workload_id = $1",
      [first.workId],
    );
    await ledger.settle(first.workId);
    await begun(first);
    return { why: 'mismatch', presented: 1, write: first.write };
  },
  'a token that was made up': async () => {
    const { write } = await begun();
    return { why: 'mismatch', presented: 7, write: { ...write, leaseToken: newLeaseToken(7) } };
  },
  'a token that names no epoch': async () => {
    const { write } = await begun();
    return { why: 'mismatch', presented: null, write: { ...write, leaseToken: 'x'.repeat(43) } };
  },
  'a lease that ran out and that nobody took': async () => {
    const { write, workId } = await begun();
    await ledger.outliveLease(workId);
    return { why: 'expired', presented: 1, write };
  },
  'a lease that was closed': async () => {
    const { write, workId } = await begun();
    await ledger.operate(workId, { action: 'cancel' });
    return { why: 'closed', presented: 1, write };
  },
  'the token in the hand of another worker': async () => {
    const { write, principal } = await begun();
    const other = await ledger.enrol({ pool: principal.poolId });
    return { why: 'mismatch', presented: 1, write: { ...write, principal: other } };
  },
};

describe.each(Object.entries(WORK_WRITES))('%s', (kind, write) => {
  test('is taken under a live lease, also of a worker that is paused, unhealthy or draining, until it is revoked', async () => {
    const held = await begun();
    const first = await write(ledger.db, held.write);
    const before = await ledger.audit(held.workId);
    for (const status of ['paused', 'unhealthy', 'draining']) {
      await setStatus(held.principal.workerId, status);
      if (kind !== 'run-status') expect(await write(ledger.db, held.write)).toEqual(first);
    }
    expect(await ledger.audit(held.workId)).toEqual(before);
    for (const status of ['revoked', 'retired']) {
      await setStatus(held.principal.workerId, status);
      expect(await refusal(write(ledger.db, held.write))).toBe('auth.required');
    }
    await setStatus(held.principal.workerId, 'active');
    await ledger.db.query('UPDATE worker_credentials SET revoked_at = clock_timestamp() WHERE worker_id = $1', [
      held.principal.workerId,
    ]);
    expect(await refusal(write(ledger.db, held.write))).toBe('auth.required');
  });

  test('is refused to a worker that is revoked while the write waits for the workload', async () => {
    const { principal, workId, write: held } = await begun();
    const call = (): Promise<unknown> => {
      const waiting = write(ledger.db, held);
      return setStatus(principal.workerId, 'revoked').then(() => waiting);
    };
    const revoked = `EXISTS (SELECT 1 FROM workers WHERE worker_id = '${principal.workerId}' AND status = 'revoked')`;
    expect(await refusal(ledger.whileLocked(workId, call, revoked))).toBe('auth.required');
  });

  test.each(Object.entries(CASES))(
    'is refused with %s, which the audit tells and nothing else shows',
    async (_name, make) => {
      const { why, presented, write: stale } = await make();
      const before = await standing(stale.workId);
      const problem = await problemOf(write(ledger.db, stale));
      expect(problem).toMatchObject({ code: 'lease.stale', extra: { staleness: why } });
      expect(problem.message).not.toContain(stale.leaseToken);
      expect(await standing(stale.workId)).toEqual(before);
      const [row, ...more] = await ledger.audit(stale.workId, 'lease.stale_write_rejected');
      expect(more).toEqual([]);
      const current = Number((await ledger.lease(stale.workId))!.epoch);
      expect(row).toMatchObject({
        actor: `worker:${stale.principal.workerId}`,
        detail: { write: kind, why, presented_epoch: presented, current_epoch: current },
      });
      expect(JSON.stringify(row)).not.toContain(stale.leaseToken);
    },
  );

  test('is refused before the intent, without a lease, and of no workload', async () => {
    const worker = await ledger.enrol();
    const workId = await ledger.admitted({ executor: 'managed', pool: worker.poolId });
    const stranger = { principal: worker, workId, leaseToken: newLeaseToken(1) };
    expect(await problemOf(write(ledger.db, stranger))).toMatchObject({ extra: { staleness: 'unknown' } });
    expect(await refusal(write(ledger.db, { ...stranger, workId: `wl_${'a'.repeat(32)}` }))).toBe('not_found');
    const claimed = await ledger.claim(worker, workId);
    expect(await refusal(write(ledger.db, claimed.write))).toBe('workload.state_conflict');
  });
});

test('a token tells its epoch, and one of an earlier version without it still holds', async () => {
  const worker = await ledger.enrol();
  const workId = await ledger.admitted({ pool: worker.poolId });
  const { claim, write } = await ledger.claim(worker, workId);
  expect(claim.lease_token).toMatch(/^olt_1_[A-Za-z0-9_-]{43}$/);
  const old = 'x'.repeat(43);
  await ledger.db.query('UPDATE leases SET token_hash = sha256($2) WHERE work_id = $1', [workId, Buffer.from(old)]);
  expect(await refusal(releaseLease(ledger.db, write, 'draining'))).toBe('lease.stale');
  expect(await releaseLease(ledger.db, { ...write, leaseToken: old }, 'draining')).toMatchObject({ state: 'queued' });
});
