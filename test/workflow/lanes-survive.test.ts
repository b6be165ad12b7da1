import type { WorkloadRow } from '../../ledger/workload-row';
import { DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';
import { policyText, when } from '../support/policy';

const keyed = (action: string, rest: string): string =>
  when(action, `event.action == "${action}"`, `decision: dispatch, ${rest}`);
const byKey = (mode: string): string => `dedupe: { key: 'event.action + event.data.key', on_duplicate: ${mode} }`;

let system: DrivenSystem;
beforeAll(async () => {
  system = await DrivenSystem.start(
    policyText(
      keyed('queue', byKey('queue')),
      keyed('supersede', byKey('supersede')),
      keyed('coalesce', byKey('coalesce')),
      keyed('debounce', 'debounce: { for: 1s, key: event.data.key }'),
      keyed('rate', 'limits: { rate: { max: 1, per: 2s } }'),
      keyed('concurrency', 'limits: { concurrency: { max: 1 } }'),
    ),
  );
});
afterAll(() => system.stop());

const row = async (id: string): Promise<WorkloadRow> => (await system.row(id)) as unknown as WorkloadRow;
const isState = (id: string, state: string, timeout = 15_000): Promise<unknown> =>
  eventually(async () => expect((await row(id)).state).toBe(state), { timeout });
const post = async (action: string, key = 'k'): Promise<string> =>
  (await system.post({ action, data: { key } })).workloadId;

/** Posts an event and waits until it waits for its turn. */
async function postWaiting(action: string, key = 'k'): Promise<string> {
  const id = await post(action, key);
  await eventually(async () => expect(await gate(id)).not.toBeNull());
  return id;
}

async function gate(id: string): Promise<string | null> {
  const [found] = await system.db.query<{ waiting_for: string | null }>(
    'SELECT waiting_for FROM workloads WHERE workload_id = $1',
    [id],
  );
  return found!.waiting_for;
}

test('queue: each is offered as soon as the one before has ended', async () => {
  const first = await post('queue');
  await isState(first, 'delivered');
  const second = await postWaiting('queue');
  const third = await postWaiting('queue');
  expect(await system.workflow(second).query('__temporal_workflow_metadata')).toMatchObject({
    currentDetails: expect.stringContaining('waiting_for_key') as string,
  });
  for (const [ended, next] of [
    [first, second],
    [second, third],
  ] as const) {
    await system.report(ended, 'completed');
    await isState(next, 'delivered');
  }
  await system.report(third, 'completed');
  expect(await system.workflow(third).result()).toMatchObject({ state: 'completed', deliveries: 1 });
});

test('supersede: the newest runs, the one at work is cancelled, and its workflow ends', async () => {
  const first = await post('supersede');
  await isState(first, 'delivered');
  const second = await post('supersede');
  await isState(second, 'delivered');
  expect(await system.workflow(first).result()).toMatchObject({ state: 'cancelled', reason: 'superseded' });
  await system.report(second, 'completed');
});

test('coalesce: what came meanwhile runs once, at the end of the one at work', async () => {
  const first = await post('coalesce');
  await isState(first, 'delivered');
  const follower = await postWaiting('coalesce');
  const more = [await post('coalesce'), await post('coalesce')];
  for (const id of more) expect(await system.workflow(id).result()).toMatchObject({ state: 'duplicate' });
  await system.report(first, 'completed');
  await isState(follower, 'delivered');
  await system.report(follower, 'completed');
  expect(system.deliveries).toContain(follower);
  expect(system.deliveries.filter((id) => more.includes(id))).toEqual([]);
});

test('debounce: the newest runs after a quiet time, by its own timer', async () => {
  const first = await post('debounce');
  await eventually(async () => (await gate(first)) === 'debounce');
  const newest = await post('debounce');
  expect(await system.workflow(first).result()).toMatchObject({ state: 'cancelled', reason: 'debounced' });
  expect((await row(newest)).state).toBe('queued');
  await isState(newest, 'delivered');
  await system.report(newest, 'completed');
});

test('rate and concurrency: the next one starts by the clock, or by an end', async () => {
  const rated = [await post('rate')];
  await isState(rated[0]!, 'delivered');
  rated.push(await postWaiting('rate'));
  const busy = await post('concurrency');
  await isState(busy, 'delivered');
  const waiting = await postWaiting('concurrency');
  await system.report(busy, 'failed');
  await isState(waiting, 'delivered');
  await isState(rated[1]!, 'delivered');
  const times = await system.db.query<{ at: Date }>(
    'SELECT intent_at AS at FROM deliveries WHERE workload_id = ANY($1) ORDER BY 1',
    [rated],
  );
  expect(times[1]!.at.getTime() - times[0]!.at.getTime()).toBeGreaterThan(1_000);
});

test('a workflow that goes on as a new one while it waits loses neither its turn nor its deadline', async () => {
  const first = await post('queue', 'long');
  await isState(first, 'delivered');
  const second = await postWaiting('queue', 'long');
  const handle = system.workflow(second);
  const { runId } = await handle.describe();
  const run = system.namespace.client.workflow.getHandle(handle.workflowId, runId);
  await eventually(
    async () => {
      const signals = Array.from({ length: 10 }, () => handle.signal('wake', { state: 'queued', wait_ms: 1 }));
      await Promise.all(signals);
      expect((await run.describe()).status.name).toBe('CONTINUED_AS_NEW');
    },
    { timeout: 60_000, interval: 300 },
  );
  expect(await row(second)).toMatchObject({ state: 'queued', delivery: 0 });
  await system.report(first, 'completed');
  await isState(second, 'delivered');
  await system.report(second, 'completed');
  expect(await handle.result()).toMatchObject({ state: 'completed', deliveries: 1 });
}, 90_000);

test('a turn whose hint was lost comes by the poll', async () => {
  const first = await post('queue', 'unhinted');
  await isState(first, 'delivered');
  const second = await postWaiting('queue', 'unhinted');
  await system.report(first, 'completed', 1, false);
  await isState(second, 'delivered');
});
