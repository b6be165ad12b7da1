import { claim } from '../../ledger/claims';
import { recordIntent } from '../../ledger/deliveries';
import type { FencedWrite } from '../../ledger/fenced-write';
import { unsentOf } from '../../ledger/outbox';
import { eventsAfter, writeEvents } from '../../ledger/work-writes/events';
import { reportRun } from '../../ledger/work-writes/run-status';
import type { RunStatusRequest } from '../../contracts/work-writes';
import { dispatchAll, DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';
import { intentKey } from '../support/fresh-ledger';
import { historyText } from '../support/history-text';

let system: DrivenSystem;
const SECRET = 'said in confidence';
const offered: string[] = [];

/** Fails the first delivery of each workload, and completes the second. */
async function work(workId: string): Promise<{ outcome: 'finished'; state: 'completed'; wait_ms: null }> {
  const lease = await claim(system.db, system.principal, workId);
  const write: FencedWrite = { principal: system.principal, workId, leaseToken: lease.lease_token };
  await recordIntent(system.db, write, intentKey());
  offered.push(lease.delivery_id);
  await tell(write, { status: 'running' });
  const sequence = lease.delivery_number;
  const event = { event_id: lease.delivery_id, sequence, type: 'step.done', payload: SECRET };
  await writeEvents(system.db, write, [event]);
  await tell(write, { status: lease.delivery_number === 1 ? 'failed' : 'completed', summary: SECRET });
  return { outcome: 'finished', state: 'completed', wait_ms: null };
}

async function tell(write: FencedWrite, report: RunStatusRequest): Promise<void> {
  const { wake } = await reportRun(system.db, write, report);
  if (wake) system.hints.send(unsentOf(wake));
}

beforeAll(async () => {
  const rule = 'to: { executor: managed }, retry: { redeliver_on: [failed] }';
  system = await DrivenSystem.start(dispatchAll(rule), { poolWorker: false });
  await system.startExecuting('managed', work);
});
afterAll(() => system.stop());

test('managed work is offered, told of and handed over again by its rule, and no history holds what was said', async () => {
  const { workloadId } = await system.post();
  await eventually(() => system.workflow(workloadId).describe());
  expect(await system.workflow(workloadId).result()).toMatchObject({
    state: 'completed',
    reason: 'run_completed',
    deliveries: 2,
  });
  expect(offered).toEqual([workloadId, `${workloadId}~2`]);
  const read = await eventsAfter(system.db, 'default', workloadId, { after: 0, limit: 10 });
  expect(read!.events).toMatchObject([
    { sequence: 1, delivery: 1, payload: SECRET },
    { sequence: 2, delivery: 2 },
  ]);
  expect(historyText(await system.workflow(workloadId).fetchHistory())).not.toContain(SECRET);
});
