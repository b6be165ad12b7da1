import { chmodSync, chownSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import type { ApiConfig } from '../api/app-deps';
import type { ListenOptions } from '../api/app-deps';
import type { WebhookSettings } from '../api/webhook-settings';
import type { SweepSettings } from '../activities/sweeper';
import { SEARCH_ATTRIBUTES } from '../contracts/search-attributes';
import { createOpenCrowExecutor } from '../executors/opencrow';
import { groupIdOf } from '../executors/opencrow/lifecycle-socket';
import type { Database } from '../ledger/database';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../ledger/embedded-postgres';
import { activePolicy } from '../ledger/policies';
import { closeContents } from '../ledger/private-files';
import { startApi, startRelay } from './api-process';
import { startControl } from './control-process';
import { openDataDir } from './data-dir-lock';
import { openLedger, prepareLedger, type LedgerTarget } from './ledger-connection';
import { startPoolWorker } from './pool-worker';
import { commandExecutors, type OfferedBackends } from './pool-worker/command-executors';
import type { ProcessContext } from './run-process';
import { temporalClient, type TemporalTarget } from './temporal-connection';
import { startTemporalDevServer, type TemporalDevServer } from './temporal-dev-server';
import { ensureAdminToken } from './up/admin-token';
import type { UpFacts } from './up/banner';
import { KeptServer, type OwnServer } from './up/kept-server';
import { OwnWorker } from './up/own-worker';
import { seedPolicy } from './up/seed-policy';
import { ensureSigningKey } from './up/signing-key';

export interface UpOptions {
  dataDir: string;
  listen: Required<ListenOptions>;
  api: ApiConfig;
  /** Without a signing key the data dir's own is taken. */
  webhooks: WebhookSettings;
  /** Where what commands print is kept (undefined: below the data dir), and for how long, milliseconds. */
  artifacts: { folder: string | undefined; retainMs: number };
  /** Null starts an embedded Postgres in the data dir. */
  ledger: LedgerTarget | null;
  databaseSchema?: string | undefined;
  databasePoolSize: number;
  /** Null starts a dev server in the data dir. */
  temporal: TemporalTarget | null;
  temporalUiPort?: number | undefined;
  temporalCli?: string | undefined;
  policyFile?: string | undefined;
  worker: { id: string; pool: string; maxOpenDeliveries: number };
  /** Undefined: below the data dir. */
  triggerPipe?: string | undefined;
  lifecycleSocket?: string | undefined;
  lifecycleSocketMode: number;
  lifecycleSocketGroup?: string | undefined;
  spoolDir?: string | undefined;
  /** What its own worker offers beside OpenCrow. */
  backends: OfferedBackends;
  suspectBackoffMs: number;
  sweeps: SweepSettings;
  sealEveryMs: number;
  graceMs: number;
  version: string;
  /** Told, in a sentence for people, what takes long or is unexpected. */
  announce: (message: string) => void;
}

/**
 * Starts everything in this process, on one data dir: Postgres and Temporal where none is configured, the api, the control
 * worker and a pool worker. Whatever an earlier process left on the data dir is taken over. Fails when another process uses
 * the data dir.
 */
export async function startUp(options: UpOptions, context: ProcessContext): Promise<UpFacts> {
  const { parts, logger } = context;
  const dataDir = await openDataDir(options.dataDir);
  parts.add('data dir lock', { stop: () => dataDir.release() });
  closeContents(dataDir.path, ['workers', 'artifacts']);
  const servers = await startServers(options, dataDir.path, context);
  const db = await openOwnLedger(options, servers.postgres, context);
  const target = options.temporal ?? {
    connection: { address: servers.temporal!.current.address },
    namespace: 'default',
  };
  const temporal = temporalClient(target);
  parts.add('Temporal client', { stop: () => temporal.close() });

  const adminTokenFile = await ensureAdminToken(db, dataDir.path, logger);
  const own = await enrolOwnWorker(options, db, dataDir.path, context);
  if (options.policyFile !== undefined) await seedPolicy(db, options.policyFile, logger);

  const { webhooks: asked } = options;
  const webhooks = { ...asked, signingKey: asked.signingKey ?? ensureSigningKey(dataDir.path) };
  const relay = startRelay(parts, { db, temporal, logger });
  const { graceMs, suspectBackoffMs, sweeps, sealEveryMs } = options;
  startControl(parts, { db, temporal, target, suspectBackoffMs, sweeps, sealEveryMs, webhooks, graceMs, logger });
  const config = { ...options.api, webhooks };
  const { folder = path.join(dataDir.path, 'artifacts'), retainMs } = options.artifacts;
  const artifacts = { folder, retainMs };
  const server = await startApi(parts, relay, { db, temporal, listen: options.listen, config, artifacts, logger });
  const openCrow = openCrowPaths(options, dataDir.path);
  if (own) await startOwnWorker(options, { own, target, openCrow, dataDir: dataDir.path, port: server.port }, context);
  return {
    version: options.version,
    apiUrl: server.url,
    temporalUiUrl: servers.temporal?.current.uiUrl ?? null,
    temporalAddress: target.connection.address ?? '',
    adminTokenFile,
    openCrow: openCrow.chosenHere ? openCrow : null,
    hasPolicy: (await activePolicy(db, 'default')) !== null,
    backends: own ? options.backends.kinds : [],
  };
}

async function openOwnLedger(
  options: UpOptions,
  postgres: KeptServer<EmbeddedPostgres> | null,
  { parts, stopping, logger }: ProcessContext,
): Promise<Database> {
  const target: LedgerTarget = options.ledger ?? {
    connection: postgres!.current.connection,
    schema: options.databaseSchema,
    maxConnections: options.databasePoolSize,
  };
  const db = openLedger(target, logger);
  parts.add('ledger', { stop: () => db.close() });
  await prepareLedger({ db, schema: target.schema, autoMigrate: true, stopping, logger });
  return db;
}

async function enrolOwnWorker(
  options: UpOptions,
  db: Database,
  dataDir: string,
  { parts, logger }: ProcessContext,
): Promise<OwnWorker | null> {
  const { id: workerId, pool: poolId, maxOpenDeliveries } = options.worker;
  const own = await OwnWorker.enrol({ db, dataDir, workerId, poolId, maxOpenDeliveries, logger });
  if (own) parts.add('own credential', { stop: () => Promise.resolve(own.stop()) });
  return own;
}

interface OwnServers {
  postgres: KeptServer<EmbeddedPostgres> | null;
  temporal: KeptServer<TemporalDevServer> | null;
}

async function startServers(
  options: UpOptions,
  dataDir: string,
  { parts, logger, stopping }: ProcessContext,
): Promise<OwnServers> {
  const { announce } = options;
  const keep = async <S extends OwnServer>(name: string, launch: () => Promise<S>): Promise<KeptServer<S>> => {
    const kept = await KeptServer.start(name, launch, logger);
    parts.add(name, kept);
    return kept;
  };
  // Both are waited for, so that a failure of one leaves none of them behind.
  const [postgres, temporal] = await Promise.allSettled([
    options.ledger ? null : keep('Postgres', () => startEmbeddedPostgres({ dataDir, announce })),
    options.temporal
      ? null
      : keep('Temporal', () =>
          startTemporalDevServer({
            dataDir,
            announce,
            uiPort: options.temporalUiPort,
            binaryPath: options.temporalCli,
            searchAttributes: Object.values(SEARCH_ATTRIBUTES),
          }),
        ),
  ]);
  if (postgres.status === 'rejected') throw postgres.reason;
  if (temporal.status === 'rejected') throw temporal.reason;
  if (stopping.aborted) throw new Error('stopped while starting');
  return { postgres: postgres.value, temporal: temporal.value };
}

interface OpenCrowPaths {
  triggerPipe: string;
  lifecycleSocket: string;
  /** What OpenCrow has to be told when the paths were chosen here. */
  sessionDir: string;
  chosenHere: boolean;
}

function openCrowPaths(options: UpOptions, dataDir: string): OpenCrowPaths {
  const folder = path.join(dataDir, 'opencrow');
  const triggerPipe = options.triggerPipe ?? path.join(folder, 'trigger.pipe');
  const lifecycleSocket = options.lifecycleSocket ?? path.join(folder, 'lifecycle.sock');
  const chosenHere = options.triggerPipe === undefined || options.lifecycleSocket === undefined;
  if (chosenHere) shareFolder(folder, dataDir, options.lifecycleSocketGroup);
  return { triggerPipe, lifecycleSocket, sessionDir: path.dirname(triggerPipe), chosenHere };
}

/** Only the group of the lifecycle socket, if one is named, reaches the folder that we share with OpenCrow. */
function shareFolder(folder: string, dataDir: string, group: string | undefined): void {
  mkdirSync(folder, { recursive: true, mode: 0o770 });
  if (group !== undefined) {
    chownSync(folder, process.getuid!(), groupIdOf(group));
    chmodSync(dataDir, 0o711);
  }
  chmodSync(folder, 0o770);
}

async function startOwnWorker(
  options: UpOptions,
  own: { own: OwnWorker; target: TemporalTarget; openCrow: OpenCrowPaths; dataDir: string; port: number },
  { parts, logger, fail }: ProcessContext,
): Promise<void> {
  const log: Logger = logger.child({ component: 'worker', worker_id: options.worker.id });
  const spool = await openDataDir(options.spoolDir ?? path.join(own.dataDir, 'workers', options.worker.id), 0o700);
  parts.add('spool lock', { stop: () => spool.release() });
  const executor = createOpenCrowExecutor({
    triggerPipe: own.openCrow.triggerPipe,
    lifecycleSocket: own.openCrow.lifecycleSocket,
    socketMode: options.lifecycleSocketMode,
    ...(options.lifecycleSocketGroup === undefined ? {} : { socketGroup: options.lifecycleSocketGroup }),
    spoolDir: spool.path,
    logger: log,
  });
  const { id: workerId } = options.worker;
  const apiUrl = `http://${reachableHost(options.listen.host)}:${own.port}`;
  const { graceMs } = options;
  const commands = commandExecutors(options.backends, { workerId, apiUrl, spoolDir: spool.path, graceMs, logger: log });
  const worker = await startPoolWorker({
    apiUrl,
    workerId,
    poolId: options.worker.pool,
    credential: own.own.credential,
    target: own.target,
    executors: [executor, ...commands],
    version: options.version,
    graceMs,
    onEnd: (end) => {
      if (end.kind === 'misplaced') return fail(new Error(end.message));
      log.warn({ end: end.kind }, `${end.message}; everything else goes on`);
      void worker.stop(graceMs);
    },
    logger: log,
  });
  parts.add('pool worker', worker);
}

/** Where this process reaches itself when it listens on `host`. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  if (host === '::') return '[::1]';
  return host.includes(':') ? `[${host}]` : host;
}
