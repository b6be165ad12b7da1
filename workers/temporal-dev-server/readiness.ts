import { setTimeout as sleep } from 'node:timers/promises';
import { Connection } from '@temporalio/client';
import { isRunning } from '../../ledger/background-process';
import { ensureSearchAttributes } from '../search-attributes';

const READY_TIMEOUT_MS = 60_000;

/**
 * Waits until the server is healthy and knows the namespace and the search attributes, so that the first workflow cannot meet a
 * half started server. Fails when the process ends or the time is over.
 */
export async function waitUntilServing(
  pid: number,
  address: string,
  searchAttributes: readonly string[],
): Promise<void> {
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (!(await serves(address, searchAttributes))) {
    if (!isRunning(pid)) throw new Error("Temporal's dev server ended while it was starting");
    if (Date.now() > deadline) throw new Error(`Temporal's dev server is not ready after ${READY_TIMEOUT_MS / 1000} s`);
    await sleep(50);
  }
}

async function serves(address: string, searchAttributes: readonly string[]): Promise<boolean> {
  // A new one each time, since a connection that was refused once waits a second before it tries again.
  const connection = Connection.lazy({ address });
  try {
    return await connection.withDeadline(Date.now() + 2000, async () => {
      await connection.healthService.check({ service: 'temporal.api.workflowservice.v1.WorkflowService' });
      await connection.workflowService.describeNamespace({ namespace: 'default' });
      // A new database has them from the command line, an existing one ignores that: look again after adding.
      const missing = await ensureSearchAttributes(connection, 'default', searchAttributes);
      return missing.length === 0;
    });
  } catch {
    // Not listening, not healthy or not set up yet: which of them does not matter.
    return false;
  } finally {
    await connection.close();
  }
}
