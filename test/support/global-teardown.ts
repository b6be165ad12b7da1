import { stopTestServers } from './servers';

/** Stops the servers of this run, and no others. */
export default async function globalTeardown(): Promise<void> {
  if (globalThis.workloaddTestServers) await stopTestServers(globalThis.workloaddTestServers);
}
