import { dispatchAll, DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';

let system: DrivenSystem;
beforeAll(async () => (system = await DrivenSystem.start(dispatchAll())));
afterAll(() => system.stop());

/** Takes the workload's run away under it. The server deletes the history in its own time. */
async function forget(id: string): Promise<void> {
  const { runId, workflowId } = await system.workflow(id).describe();
  await system.namespace.client.workflowService.deleteWorkflowExecution({
    namespace: system.namespace.name,
    workflowExecution: { workflowId, runId },
  });
  const run = system.namespace.client.workflow.getHandle(workflowId, runId);
  await eventually(async () => {
    const status = await run.describe().then(
      (description) => description.status.name,
      () => 'deleted',
    );
    expect(status).not.toBe('RUNNING');
  });
}

const isState = (id: string, state: string): Promise<unknown> =>
  eventually(async () => expect((await system.row(id)).state).toBe(state));

test('a running workload without its history ends as reported, after one delivery', async () => {
  const { workloadId } = await system.post();
  await isState(workloadId, 'delivered');
  await system.report(workloadId, 'running');
  await forget(workloadId);
  await eventually(async () => expect((await system.workflow(workloadId).describe()).status.name).toBe('RUNNING'));
  await system.report(workloadId, 'completed');
  expect(await system.workflow(workloadId).result()).toMatchObject({ state: 'completed', deliveries: 1 });
  expect(system.deliveries.filter((id) => id === workloadId)).toHaveLength(1);
});

test('an end reported while the history is lost is not lost', async () => {
  const { workloadId } = await system.post();
  await isState(workloadId, 'delivered');
  await forget(workloadId);
  await system.report(workloadId, 'completed');
  expect(await system.row(workloadId)).toMatchObject({ state: 'completed', closed: true });
  expect(system.deliveries.filter((id) => id === workloadId)).toHaveLength(1);
});

test('a fact that was committed but never sent is sent by the relay', async () => {
  const { workloadId } = await system.post({}, false);
  await isState(workloadId, 'delivered');
  await system.report(workloadId, 'running', 1, false);
  await system.report(workloadId, 'completed', 1, false);
  await eventually(async () =>
    expect(await system.workflow(workloadId).result()).toMatchObject({ state: 'completed' }),
  );
});

test('forged and repeated wakes change nothing', async () => {
  const { workloadId } = await system.post();
  await isState(workloadId, 'delivered');
  const handle = system.workflow(workloadId);
  for (const state of ['completed', 'running', 'failed', 'preempted', 'nonsense']) {
    await handle.signal('wake', { state, wait_ms: 1 });
  }
  await system.report(workloadId, 'running');
  expect(await system.row(workloadId)).toMatchObject({ state: 'running', closed: false });
  expect((await handle.describe()).status.name).toBe('RUNNING');
  await system.report(workloadId, 'failed');
  expect(await handle.result()).toMatchObject({ state: 'failed' });
});
