import type { Logger } from 'pino';
import { Registry, collectDefaultMetrics } from 'prom-client';
import type { ApiConfig, ListenOptions } from '../api/app-deps';
import { FolderStore } from '../api/artifacts/folder-store';
import { ArtifactKeeper } from '../api/artifacts/keeper';
import { startServer, type RunningServer } from '../api/server';
import { fleetWatcher } from '../activities/fleet-sweeper';
import { LanePump } from '../activities/lane-pump';
import { createWakeRelay } from '../api/wake-relay';
import type { Database } from '../ledger/database';
import type { RunningParts } from './running-parts';
import type { TemporalClient } from './temporal-connection';

export interface ApiProcessOptions {
  db: Database;
  temporal: TemporalClient;
  listen: ListenOptions;
  config: ApiConfig;
  /** Where what commands print is kept, and for how long, milliseconds; null: it is not. */
  artifacts: { folder: string; retainMs: number } | null;
  logger: Logger;
}

/**
 * Starts the relay, which tells Temporal of committed facts. It works whether or not Temporal is there. Stop it before the
 * ledger and the client are closed.
 */
export function startRelay(
  parts: RunningParts,
  options: Omit<ApiProcessOptions, 'listen' | 'config' | 'artifacts'>,
): Relay {
  const { db, temporal, logger } = options;
  const relay = createWakeRelay({ db, client: temporal.client, logger: logger.child({ component: 'relay' }) });
  relay.start();
  parts.add('relay', { stop: () => relay.stop() });
  return relay;
}
export type Relay = ReturnType<typeof createWakeRelay>;

/** Starts the HTTP API: it serves without Temporal, and answers 503 without the ledger. Fails when the address is taken. */
export async function startApi(
  parts: RunningParts,
  relay: Relay,
  { db, temporal, listen, config, artifacts, logger }: ApiProcessOptions,
): Promise<RunningServer> {
  const store = artifacts ? FolderStore.open(artifacts.folder) : undefined;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const lanes = new LanePump({ db, wakes: relay, logger });
  parts.add('lanes', { stop: () => lanes.stop() });
  const deps = { db, wakes: lanes, temporalReady: () => temporal.ready(), logger, registry, artifacts: store, config };
  const server = await startServer({ listen, deps }).catch((error: unknown) => {
    throw listenProblem(error);
  });
  parts.add('api', { stop: (graceMs) => server.close(graceMs) });
  const watcher = fleetWatcher({ db, logger });
  watcher.start();
  parts.add('fleet watch', { stop: () => watcher.stop() });
  if (artifacts && store) {
    const keeper = new ArtifactKeeper({ db, store, retainMs: artifacts.retainMs, logger });
    parts.add('artifacts', { stop: () => keeper.stop() });
    keeper.start();
  }
  logger.info({ url: server.url, operator_url: server.operatorUrl ?? undefined }, 'the api listens');
  return server;
}

function listenProblem(error: unknown): unknown {
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const at = `${address}:${port}`;
  if (code === 'EADDRINUSE')
    return new Error(`${at} is in use: stop what listens there, or choose another --listen or --operator-listen`);
  if (code === 'EACCES' || code === 'EADDRNOTAVAIL')
    return new Error(`cannot listen on ${at} (${code}): choose another --listen or --operator-listen`);
  return error;
}
