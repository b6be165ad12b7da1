import { appendOutput } from '../../ledger/artifacts';
import { releaseLease, reportWrite } from '../../ledger/deliveries';
import type { FencedWrite } from '../../ledger/fenced-write';
import { finishCommand } from '../../ledger/finish-command';
import { renewLease } from '../../ledger/renew-lease';
import { exitedWith } from '../support/envelopes';
import { FreshLedger, problemOf, refusal, type Delivered } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const ARTIFACT = 'SELECT size::int FROM artifacts WHERE workload_id = $1';
const kept = async (workId: string): Promise<unknown[]> => ledger.db.query(ARTIFACT, [workId]);
const nothing = (): Promise<void> => Promise.resolve();
const append = (write: FencedWrite, offset: number, length = 5): Promise<unknown> =>
  appendOutput(ledger.db, write, { stream: 'stdout', offset, length }, nothing);

/** A command that has printed five bytes. */
async function printing(): Promise<Delivered> {
  const held = await ledger.delivered({
    executor: 'node',
    retry: { redeliver_on: ['lost'], max_deliveries: 3 },
  });
  await append(held.write, 0);
  return held;
}

async function expectStale(held: Delivered, kind: string, call: () => Promise<unknown>, why: string): Promise<void> {
  const before = await kept(held.workId);
  expect(await problemOf(call())).toMatchObject({ code: 'lease.stale', extra: { staleness: why } });
  expect(await kept(held.workId)).toEqual(before);
  const rows = await ledger.audit(held.workId, 'lease.stale_write_rejected');
  expect(rows.at(-1)).toMatchObject({ detail: { write: kind, why, presented_epoch: 1 } });
}

describe('what a command printed', () => {
  test('is not taken any more once its lease ran out, whoever has closed it since or holds another', async () => {
    const held = await printing();
    const more = () => append(held.write, 5);
    await ledger.outliveLease(held.workId);
    await expectStale(held, 'output', more, 'expired');
    await expectStale(held, 'output', () => append(held.write, 0), 'expired');
    await ledger.settle(held.workId);
    expect(await ledger.lease(held.workId)).toMatchObject({ status: 'expired' });
    await expectStale(held, 'output', more, 'closed');
    await ledger.delivered({}, held);
    await expectStale(held, 'output', more, 'mismatch');
  });

  test('is taken after a cancel of a delivery that was held, not of one whose lease had run out', async () => {
    const held = await printing();
    await ledger.operate(held.workId, { action: 'cancel' });
    await append(held.write, 5);
    expect(await kept(held.workId)).toEqual([{ size: 10 }]);

    const late = await printing();
    await ledger.outliveLease(late.workId);
    await ledger.operate(late.workId, { action: 'cancel' });
    await expectStale(late, 'output', () => append(late.write, 5), 'closed');
    const finish = () => finishCommand(ledger.db, late.write, { envelope: exitedWith(0) });
    await expectStale(late, 'finish', finish, 'closed');
  });

  test('is not taken after the delivery was given back; after its end a repeat is answered and nothing is added', async () => {
    const back = await printing();
    await releaseLease(ledger.db, back.write, 'ENOENT');
    await expectStale(back, 'output', () => append(back.write, 5), 'closed');

    const held = await printing();
    const output = { stdout: { size: 5, sha256: 'a'.repeat(64) } };
    await finishCommand(ledger.db, held.write, { envelope: exitedWith(0), output });
    expect(await append(held.write, 0)).toMatchObject({ size: 5 });
    expect(await refusal(append(held.write, 5))).toBe('workload.state_conflict');
  });
});

test('what became of a write is heard after the lease of OpenCrow ran out; not of a command, whose lease was its worker’s to keep', async () => {
  const wrote = { write: 'written' } as const;
  const opencrow = await ledger.delivered();
  await ledger.outliveLease(opencrow.workId);
  await reportWrite(ledger.db, opencrow.write, wrote);
  expect(await ledger.deliveries(opencrow.workId)).toMatchObject([{ write: 'written' }]);

  for (const executor of ['node', 'managed'] as const) {
    const held = await ledger.delivered({ executor });
    await ledger.outliveLease(held.workId);
    await expectStale(held, 'complete', () => reportWrite(ledger.db, held.write, wrote), 'expired');
    expect(await ledger.deliveries(held.workId)).toMatchObject([{ write: 'intended' }]);
  }
});

test('that nothing was handed over is believed after the lease ran out; who waited for a runner’s job gives nothing back then', async () => {
  const proven = await ledger.delivered({ executor: 'node' });
  await ledger.outliveLease(proven.workId);
  expect(await releaseLease(ledger.db, proven.write, 'ENOENT')).toMatchObject({ state: 'queued' });

  const endpoint = 'https://runner/jobs';
  const held = await ledger.delivered({ executor: 'remote', run: { endpoint } });
  const target = { kind: 'remote', ref: endpoint, endpoint, metadata: { runnerJobId: 'j-1' } } as const;
  await renewLease(ledger.db, held.write, { running: true, target });
  await ledger.outliveLease(held.workId);
  const before = await ledger.lease(held.workId);
  await expectStale(held, 'release', () => releaseLease(ledger.db, held.write, 'draining'), 'expired');
  expect(await ledger.lease(held.workId)).toEqual({ ...before!, now: expect.any(Date) });
});
