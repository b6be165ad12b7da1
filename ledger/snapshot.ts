import type { PoolClient } from 'pg';
import { translated, type Database, type Queryable } from './database';

/** A read-only view of one moment of the ledger, on a connection of its own. It must be closed. */
export interface Snapshot extends Queryable {
  close(): Promise<void>;
}

/**
 * Opens a view of this moment. It ends when nothing is asked of it for `idleMs`; a statement may take `statementMs` (0: as
 * long as it takes).
 */
export async function openSnapshot(
  db: Database,
  { idleMs, statementMs }: { idleMs: number; statementMs: number },
): Promise<Snapshot> {
  const client = await db.dedicated();
  const noteLoss = (): void => undefined;
  client.on('error', noteLoss);
  const release = (broken: boolean): void => {
    client.off('error', noteLoss);
    client.release(broken);
  };
  try {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
    await client.query(
      "SELECT set_config('idle_in_transaction_session_timeout', $1, true), set_config('statement_timeout', $2, true)",
      [String(idleMs), String(statementMs)],
    );
  } catch (error) {
    release(true);
    throw translated(error);
  }
  let closed = false;
  return {
    query: async <Row extends object>(text: string, values: readonly unknown[] = []) =>
      run<Row>(client, text, values, statementMs),
    close: async () => {
      if (closed) return;
      closed = true;
      // After a failure this fails too, and the connection is given up.
      const broken = await client.query('COMMIT').then(
        () => false,
        () => true,
      );
      release(broken);
    },
  };
}

async function run<Row extends object>(
  client: PoolClient,
  text: string,
  values: readonly unknown[],
  statementMs: number,
): Promise<Row[]> {
  try {
    // Above the pool's own limit, which is for statements of requests.
    const limit = statementMs === 0 ? 2 ** 31 - 1 : statementMs + 5_000;
    const asked = { text, values: values as unknown[], query_timeout: limit };
    return (await client.query<Row>(asked)).rows;
  } catch (error) {
    throw translated(error);
  }
}
