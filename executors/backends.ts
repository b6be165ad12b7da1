import type { Backend } from './backend';
import { ciBackend } from './ci/ci-backend';
import { containerBackend } from './container/container-backend';
import { nodeBackend } from './node/node-backend';
import { remoteBackend } from './remote/remote-backend';

export interface BackendSettings {
  /** Container runtimes in the order they may be used. */
  containerRuntimes: readonly string[];
  /** The runners' bearer token, asked for at each run. */
  runnerToken: (() => string) | undefined;
  /** Hosts with private addresses that may be runners. */
  runnerPrivateHosts: readonly string[];
}

/** The backends that come with the service. */
export function builtInBackends({ containerRuntimes, runnerToken, runnerPrivateHosts }: BackendSettings): Backend[] {
  const runner = { privateHosts: runnerPrivateHosts, ...(runnerToken ? { token: runnerToken } : {}) };
  return [nodeBackend, containerBackend({ runtimes: containerRuntimes }), remoteBackend(runner), ciBackend(runner)];
}

/** The backends that are offered. One that is not is refused by name, never replaced by another. */
export class Backends {
  private readonly byId: ReadonlyMap<string, Backend>;

  constructor(offered: readonly Backend[]) {
    this.byId = new Map(offered.map((backend) => [backend.spec.id, backend]));
  }

  /** Null when there is none of this name. */
  get(id: string): Backend | null {
    return this.byId.get(id) ?? null;
  }

  /** By id. */
  list(): Backend[] {
    return [...this.byId.values()].sort((a, b) => (a.spec.id < b.spec.id ? -1 : 1));
  }
}
