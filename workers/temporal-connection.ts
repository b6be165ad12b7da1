import { Client, Connection } from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import type { NativeConnectionOptions } from '@temporalio/worker';

/** Which Temporal to use. */
export interface TemporalTarget {
  connection: NativeConnectionOptions;
  namespace: string;
}

const DEFAULT_ADDRESS = '127.0.0.1:7233';
const READY_TIMEOUT_MS = 2_000;

/** Whether somebody named a Temporal server; a profile file that is merely there names none. */
export const isTemporalConfigured = (env: NodeJS.ProcessEnv): boolean =>
  ['TEMPORAL_ADDRESS', 'TEMPORAL_PROFILE', 'TEMPORAL_CONFIG_FILE'].some((name) => Boolean(env[name]));

/**
 * The Temporal server named by `TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_TLS*`, `TEMPORAL_API_KEY` or a profile file,
 * as for every Temporal SDK. Fails when a file of it cannot be read or understood.
 */
export function configuredTemporal(): TemporalTarget {
  try {
    const { connectionOptions, namespace } = loadClientConnectConfig();
    const given = Object.fromEntries(Object.entries(connectionOptions).filter(([, value]) => value !== undefined));
    return { connection: { address: DEFAULT_ADDRESS, ...given }, namespace: namespace ?? 'default' };
  } catch (error) {
    throw new Error(`the TEMPORAL_* configuration cannot be used: ${(error as Error).message}`, { cause: error });
  }
}

/** A client that connects when it is first used, and again whenever the server is back. */
export interface TemporalClient {
  client: Client;
  /** Whether the server answers now. */
  ready(): Promise<boolean>;
  close(): Promise<void>;
}

/** Makes a client without connecting. */
export function temporalClient({ connection: options, namespace }: TemporalTarget): TemporalClient {
  const connection = Connection.lazy(options);
  const probes = new Set<Promise<boolean>>();
  const probe = (): Promise<boolean> =>
    connection
      .withDeadline(Date.now() + READY_TIMEOUT_MS, () => connection.workflowService.getSystemInfo({}))
      .then(
        () => true,
        () => false,
      );
  return {
    client: new Client({ connection, namespace }),
    ready: () => {
      const asked = probe().finally(() => probes.delete(asked));
      probes.add(asked);
      return asked;
    },
    close: async () => {
      // A call that is about to be repeated when its channel closes would end the process.
      await Promise.all(probes);
      await connection.close();
    },
  };
}
