import { Context } from '@temporalio/activity';
import { Client, Connection } from '@temporalio/client';
import { NativeConnection, Worker } from '@temporalio/worker';
import { progress } from './signals';
import { spawnTrue } from './spawn-true';

/**
 * A worker process for the bare workflows. The activity `work` has the two signals sent once it has returned, as the executor's
 * lifecycle follows a delivery.
 */
async function main(address: string): Promise<void> {
  const connection = await NativeConnection.connect({ address });
  const client = new Client({ connection: await Connection.connect({ address }) });
  const report = async (workflowId: string): Promise<void> => {
    const handle = client.workflow.getHandle(workflowId);
    await handle.signal(progress, 'running');
    await handle.signal(progress, 'completed');
  };
  const work = (): Promise<string> => {
    const { workflowId } = Context.current().info.workflowExecution!;
    setImmediate(() => void report(workflowId));
    return Promise.resolve('done');
  };
  const worker = await Worker.create({
    connection,
    taskQueue: 'bare',
    workflowsPath: require.resolve('./workflow'),
    activities: { work, runTrue: spawnTrue },
  });
  process.once('SIGTERM', () => worker.shutdown());
  const running = worker.run();
  process.stdout.write('ready\n');
  await running;
  await client.connection.close();
  await connection.close();
}

void main(process.argv[2]!);
