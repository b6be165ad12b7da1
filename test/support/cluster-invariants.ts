import { parseDeliveryId } from '../../contracts/names';
import type { WorkloadRecord, WorkloadSummaryRecord } from '../../contracts/workload-record';
import type { Cluster, Posted } from './cluster';
import { eventually } from './eventually';

/** Entering one of these, a workload has reached its end; `lost` is one too, but may be corrected or delivered again. */
const ENDS = /^workload\.(completed|failed|aborted|dropped|refused|cancelled|dead|duplicate|ignored|denied)$/;

/** Waits until every posted event has come to its end, then asserts what must hold whatever was killed on the way. */
export async function expectAllEndedOnce(cluster: Cluster, timeoutMs = 90_000): Promise<void> {
  await eventually(() => expectNothingOpen(cluster), { timeout: timeoutMs, interval: 250 });
  const received = receivedIds(cluster);
  for (const posted of cluster.posted) await expectOneEnd(cluster, posted, received);
  await expectNoOtherWorkloads(cluster, received);
  await expectNothingHeld(cluster);
  await eventually(async () => expect(await cluster.openWorkflows()).toBe(0), { timeout: 30_000, interval: 250 });
}

/** Delivery ids that came through the pipe, each once; nothing else came. */
function receivedIds(cluster: Cluster): Set<string> {
  const received = cluster.crow.received();
  expect(received).not.toContain(null);
  expect(new Set(received).size).toBe(received.length);
  return new Set(received as string[]);
}

async function expectNothingOpen(cluster: Cluster): Promise<void> {
  const open = await cluster.db.query(
    'SELECT workload_id, event_id, action, state, reason, delivery, deadline_kind, deadline_at FROM workloads WHERE NOT closed',
  );
  expect(open).toEqual([]);
}

async function expectOneEnd(cluster: Cluster, posted: Posted, received: ReadonlySet<string>): Promise<void> {
  const record = await cluster.record(posted);
  const told = JSON.stringify(record.timeline.map(({ at, type, detail }) => [at, type, detail]));
  try {
    expect(posted.ends).toContain(record.state);
    expect(record.closed).toBe(true);
    const ends = record.timeline.filter(({ type }) => ENDS.test(type));
    expect(ends).toHaveLength(record.state === 'lost' ? 0 : 1);
    expect(record.timeline.filter(({ type }) => type === 'event.accepted')).toHaveLength(1);
    expect(record.decision).not.toBeNull();
    expectAllowedDeliveries(record, posted, received);
  } catch (error) {
    throw new Error(`${record.action} ${record.event_id}: ${told}`, { cause: error });
  }
}

function expectAllowedDeliveries(
  { delivery, deliveries, timeline, workload_id }: WorkloadRecord,
  posted: Posted,
  received: ReadonlySet<string>,
): void {
  const made = deliveries.filter(({ write }) => write !== 'not_written');
  expect(made.map(({ number }) => number)).toEqual(made.map((_, index) => index + 1));
  expect(made).toHaveLength(delivery);
  expect(made.length).toBeLessThanOrEqual(posted.deliveries);
  const lost = timeline.filter(({ type }) => type === 'workload.lost').map(({ detail }) => detail['delivery']);
  for (const earlier of made.slice(0, -1)) expect(lost).toContain(earlier.number);
  const ids = new Set(made.map((each) => each.delivery_id));
  for (const id of received) if (parseDeliveryId(id)?.workloadId === workload_id) expect(ids).toContain(id);
}

async function expectNoOtherWorkloads(cluster: Cluster, received: ReadonlySet<string>): Promise<void> {
  const { body } = await cluster.ask('GET', '/api/workloads?limit=500');
  const known = (body as { workloads: WorkloadSummaryRecord[] }).workloads.map((each) => each.workload_id).sort();
  expect(known).toEqual(cluster.posted.map(({ id }) => id).sort());
  for (const id of received) expect(known).toContain(parseDeliveryId(id)?.workloadId);
}

/** No lease, slot or dedupe key is held, and Temporal has been told everything. */
async function expectNothingHeld(cluster: Cluster): Promise<void> {
  const queries = {
    leases: 'SELECT work_id FROM leases WHERE closed_at IS NULL',
    slots: 'SELECT delivery_id FROM deliveries WHERE slot_until > clock_timestamp()',
    keys: 'SELECT workload_id FROM dedupe_claims WHERE open',
  };
  for (const [name, query] of Object.entries(queries)) {
    expect({ [name]: await cluster.db.query(query) }).toEqual({ [name]: [] });
  }
  await eventually(async () =>
    expect(await cluster.db.query('SELECT workload_id FROM workloads WHERE wake_sent < wake_seq')).toEqual([]),
  );
}
