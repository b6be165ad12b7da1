import { NativeConnection } from '@temporalio/worker';
import type { TemporalTarget } from './temporal-connection';

/** A connection for workers. Fails when the server cannot be reached. Apart from clients, which load much less. */
export const connectWorker = (target: TemporalTarget): Promise<NativeConnection> =>
  NativeConnection.connect(target.connection);
