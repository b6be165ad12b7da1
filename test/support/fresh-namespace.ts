import { randomBytes } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { SEARCH_ATTRIBUTES } from '../../contracts/search-attributes';
import { ensureSearchAttributes } from '../../workers/search-attributes';
import { testEnvironment } from './environment';
import { eventually } from './eventually';

/** A Temporal namespace of one test file's own, with the service's search attributes. */
export interface FreshNamespace {
  name: string;
  client: Client;
  close(): Promise<void>;
}

/** Registers a namespace and waits until the server serves it. */
export async function freshNamespace(): Promise<FreshNamespace> {
  const name = `test-${randomBytes(6).toString('hex')}`;
  const connection = await Connection.connect({ address: testEnvironment.temporalAddress });
  await connection.workflowService.registerNamespace({
    namespace: name,
    workflowExecutionRetentionPeriod: { seconds: 86_400 as unknown as never },
  });
  const client = new Client({ connection, namespace: name });
  await eventually(() => ensureSearchAttributes(connection, name, Object.values(SEARCH_ATTRIBUTES)));
  await eventually(() => client.workflow.count('WorkloadState = "none"'));
  return { name, client, close: () => connection.close() };
}
