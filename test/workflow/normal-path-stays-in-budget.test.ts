import { temporal } from '@temporalio/proto';
import { dispatchAll, DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';

const { EventType } = temporal.api.enums.v1;

let system: DrivenSystem;
beforeAll(async () => (system = await DrivenSystem.start(dispatchAll())));
afterAll(() => system.stop());

test('a whole workload is one start, one remote activity, two local ones, two signals and at most 30 events', async () => {
  const { workloadId } = await system.post();
  await eventually(async () => expect((await system.row(workloadId)).state).toBe('delivered'));
  await eventually(async () => {
    const events = (await system.workflow(workloadId).fetchHistory()).events ?? [];
    return events.some((event) => event.eventType === EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED);
  });
  await system.report(workloadId, 'running');
  await eventually(async () => {
    const { searchAttributes } = await system.workflow(workloadId).describe();
    expect(searchAttributes['WorkloadState']).toEqual(['running']);
  });
  await system.report(workloadId, 'completed');
  expect(await system.workflow(workloadId).result()).toEqual({
    state: 'completed',
    reason: 'executor_completed',
    rule: 'all',
    deliveries: 1,
  });

  const { events } = await system.workflow(workloadId).fetchHistory();
  const count = (type: number): number => events!.filter((event) => event.eventType === type).length;
  expect(count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)).toBe(1);
  expect(count(EventType.EVENT_TYPE_MARKER_RECORDED)).toBe(2);
  expect(count(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED)).toBe(2);
  expect(count(EventType.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)).toBe(3);
  expect(count(EventType.EVENT_TYPE_TIMER_STARTED)).toBe(1);
  expect(events!.length).toBeLessThanOrEqual(30);
});
