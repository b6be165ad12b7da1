import { dispatchAll, DrivenSystem } from '../support/driven-system';
import { eventually } from '../support/eventually';
import { historyText } from '../support/history-text';

const SECRET_WORDS = ['the-body-of-the-event', 'the-prompt-of-the-rule', 'the-subject-of-the-mail', 'oww_', 'owt_'];

let system: DrivenSystem;
beforeAll(async () => {
  system = await DrivenSystem.start(dispatchAll('trigger: { prompt: the-prompt-of-the-rule, include: [text] }'));
});
afterAll(() => system.stop());

test('no body, prompt, subject or token is in any history', async () => {
  const posted = await system.post({ subject: 'the-subject-of-the-mail', data: { text: 'the-body-of-the-event' } });
  await eventually(async () => expect((await system.row(posted.workloadId)).state).toBe('delivered'));
  await system.report(posted.workloadId, 'running');
  await system.report(posted.workloadId, 'completed');
  await system.workflow(posted.workloadId).result();

  let histories = 0;
  for await (const execution of system.namespace.client.workflow.list()) {
    const handle = system.namespace.client.workflow.getHandle(execution.workflowId, execution.runId);
    const history = historyText(await handle.fetchHistory());
    for (const word of SECRET_WORDS) expect(history).not.toContain(word);
    expect(history).toContain(posted.workloadId);
    histories += 1;
  }
  expect(histories).toBe(1);
});
