import { historyToJSON } from '@temporalio/common/lib/proto-utils';
import { dispatchAll, DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';

/** The types of a workflow's events so far, without their common prefix. */
async function eventTypes(workloadId: string, of = system): Promise<string[]> {
  const json = historyToJSON(await of.workflow(workloadId).fetchHistory());
  const { events } = JSON.parse(json) as { events: { eventType: string }[] };
  return events.map((event) => event.eventType.replace('EVENT_TYPE_', ''));
}

// On a machine so busy that a wake takes two seconds it is sent again: that is not the normal path.
jest.retryTimes(2, { logErrorsBeforeRetry: true });

let system: DrivenSystem;
beforeAll(async () => (system = await DrivenSystem.start(dispatchAll())));
afterAll(() => system.stop());

test('a whole workload is one start, one remote activity, two local ones, two signals and at most 30 events', async () => {
  const { workloadId } = await system.post();
  await eventually(async () => expect((await system.row(workloadId)).state).toBe('delivered'));
  await eventually(async () => expect(await eventTypes(workloadId)).toContain('ACTIVITY_TASK_COMPLETED'));
  await system.report(workloadId, 'running');
  await eventually(async () => {
    const shown = (await eventTypes(workloadId)).filter((type) => type === 'UPSERT_WORKFLOW_SEARCH_ATTRIBUTES');
    expect(shown).toHaveLength(2);
  });
  await system.report(workloadId, 'completed');
  expect(await system.workflow(workloadId).result()).toEqual({
    state: 'completed',
    reason: 'executor_completed',
    rule: 'all',
    deliveries: 1,
  });

  const types = await eventTypes(workloadId);
  const count = (type: string): number => types.filter((each) => each === type).length;
  expect(count('ACTIVITY_TASK_SCHEDULED')).toBe(1);
  expect(count('MARKER_RECORDED')).toBe(2);
  expect(count('WORKFLOW_EXECUTION_SIGNALED')).toBe(2);
  expect(count('UPSERT_WORKFLOW_SEARCH_ATTRIBUTES')).toBe(3);
  expect(count('TIMER_STARTED')).toBe(1);
  expect(types.length).toBeLessThanOrEqual(30);
});

test('a whole command is one start, one remote activity, two local ones, at most two signals and 30 events', async () => {
  const commands = await DrivenSystem.start(dispatchAll("to: { executor: node }, run: { command: 'true' }"), {
    poolWorker: false,
  });
  try {
    await commands.startCommandWorker();
    const { workloadId } = await commands.post();
    await eventually(async () => {
      const shown = (await eventTypes(workloadId, commands)).filter((type) => type.startsWith('UPSERT'));
      expect(shown).toHaveLength(2);
    });
    commands.endCommands();
    expect(await commands.workflow(workloadId).result()).toMatchObject({ state: 'completed', deliveries: 1 });

    const types = await eventTypes(workloadId, commands);
    const count = (type: string): number => types.filter((each) => each === type).length;
    expect(count('ACTIVITY_TASK_SCHEDULED')).toBe(1);
    expect(count('MARKER_RECORDED')).toBe(2);
    expect(count('WORKFLOW_EXECUTION_SIGNALED')).toBeLessThanOrEqual(2);
    expect(types.length).toBeLessThanOrEqual(30);
  } finally {
    await commands.stop();
  }
});
