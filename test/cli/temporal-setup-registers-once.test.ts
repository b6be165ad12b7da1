import { Connection } from '@temporalio/client';
import { randomBytes } from 'node:crypto';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { testEnvironment } from '../support/environment';
import { eventually } from '../support/eventually';
import { startWorkloadd } from '../support/processes';

async function setup(env: NodeJS.ProcessEnv) {
  const command = startWorkloadd(['temporal', 'setup'], env);
  const { code } = await command.ended;
  return { code, stdout: command.stdout, stderr: command.stderr };
}

test('temporal setup registers the search attributes, and may be run again', async () => {
  const namespace = `setup-${randomBytes(6).toString('hex')}`;
  const env = { TEMPORAL_ADDRESS: testEnvironment.temporalAddress, TEMPORAL_NAMESPACE: namespace };
  const connection = await Connection.connect({ address: testEnvironment.temporalAddress });
  try {
    await connection.workflowService.registerNamespace({
      namespace,
      workflowExecutionRetentionPeriod: { seconds: 86_400 as unknown as never },
    });
    const first = await eventually(async () => {
      const result = await setup(env);
      return result.code === 0 ? result : null;
    });
    expect(first.stdout).toContain('WorkloadState');
    await eventually(async () => {
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      expect(Object.keys(customAttributes)).toEqual(expect.arrayContaining(Object.values(SEARCH_ATTRIBUTES)));
    });
    expect(await setup(env)).toMatchObject({ code: 0, stdout: expect.stringContaining('has all 7') });
  } finally {
    await connection.close();
  }
});

test('it says what to do when there is no such namespace, or no server', async () => {
  const missing = await setup({ TEMPORAL_ADDRESS: testEnvironment.temporalAddress, TEMPORAL_NAMESPACE: 'no-such' });
  expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining('has no namespace no-such') });
  const down = await setup({ TEMPORAL_ADDRESS: '127.0.0.1:1' });
  expect(down).toMatchObject({ code: 1, stderr: expect.stringContaining('TEMPORAL_ADDRESS') });
});
