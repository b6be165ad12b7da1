import type { Logger } from 'pino';
import type { ApiConfig } from '../../api/app-deps';
import type { WebhookSettings } from '../../api/webhook-settings';
import type { SweepSettings } from '../../activities/sweeper';
import type { Database } from '../../ledger/database';
import { startApi, startRelay } from '../../workers/api-process';
import { ledgerAt, openLedger, prepareLedger } from '../../workers/ledger-connection';
import { runProcess, type ProcessContext } from '../../workers/run-process';
import {
  configuredTemporal,
  temporalClient,
  type TemporalClient,
  type TemporalTarget,
} from '../../workers/temporal-connection';
import type { ConfigOf } from '../config';
import { createLogger } from '../logger';
import { metricsAddress } from '../metrics-address';

const DAY_MS = 86_400_000;

/** `workloadd api` */
export async function runApi(config: ConfigOf<'api'>): Promise<void> {
  const { logger, target } = begin(config);
  await runProcess({
    logger,
    graceMs: config.shutdownGrace,
    start: async (context) => {
      const { db, temporal } = openStores(config, target, context);
      const relay = startRelay(context.parts, { db, temporal, logger });
      const { listen, artifactsDir: folder, retainArtifacts: retainMs } = config;
      const artifacts = folder === undefined ? null : { folder, retainMs };
      await startApi(context.parts, relay, { db, temporal, listen, config: apiConfig(config), artifacts, logger });
      // It serves (503) while the ledger is away, and ends if the ledger turns out to be of another version.
      await ledgerIsReady(db, config, context);
    },
  });
}

/** `workloadd control` */
export async function runControl(config: ConfigOf<'control'>): Promise<void> {
  const { logger, target } = begin(config);
  // The api has no use for Temporal's workers, which take longest to load.
  const [{ installTemporalRuntime }, { startControl }] = await Promise.all([
    import('../../workers/temporal-runtime.js'),
    import('../../workers/control-process.js'),
  ]);
  installTemporalRuntime({ logger, metricsAddress: metricsAddress(config.metrics) });
  await runProcess({
    logger,
    graceMs: config.shutdownGrace,
    start: async (context) => {
      const { db, temporal } = openStores(config, target, context);
      await ledgerIsReady(db, config, context);
      const { suspectBackoff: suspectBackoffMs, shutdownGrace: graceMs } = config;
      startControl(context.parts, {
        db,
        temporal,
        target,
        suspectBackoffMs,
        sweeps: sweepSettings(config),
        sealEveryMs: config.sealInterval,
        webhooks: webhookSettings(config),
        graceMs,
        logger,
      });
    },
  });
}

function openStores(
  config: ConfigOf<'api'> | ConfigOf<'control'>,
  target: TemporalTarget,
  { parts, logger }: ProcessContext,
): { db: Database; temporal: TemporalClient } {
  const db = openLedger(
    ledgerAt(config.databaseUrl().reveal(), config.databaseSchema, config.databasePoolSize),
    logger,
  );
  parts.add('ledger', { stop: () => db.close() });
  const temporal = temporalClient(target);
  parts.add('Temporal client', { stop: () => temporal.close() });
  return { db, temporal };
}

const begin = (config: ConfigOf<'api'> | ConfigOf<'control'>): { logger: Logger; target: TemporalTarget } => ({
  logger: createLogger(config),
  target: configuredTemporal(),
});

/** The api's own settings. */
export const apiConfig = (config: ConfigOf<'api'> | ConfigOf<'up'>): ApiConfig => ({
  trustProxy: config.trustProxy === 0 ? false : config.trustProxy,
  operatorListen: config.operatorListen,
  requestsPerMinute: config.requestsPerMinute,
  commandLeaseMs: config.commandLease,
  heartbeatMs: config.heartbeatInterval,
  webhooks: webhookSettings(config),
});

/** Who may be called, and what signs it. */
export const webhookSettings = ({
  callbackHosts,
  callbackPrivate,
  signingKey,
}: ConfigOf<'api'> | ConfigOf<'control'> | ConfigOf<'up'>): WebhookSettings => ({
  targets: { hosts: callbackHosts, allowPrivate: callbackPrivate },
  signingKey,
});

/** Longer than workers' heartbeats are apart, in which they name what they are at work on. */
const UNHELD_MS = 60_000;

/** What the control worker's sweeps go by. */
export const sweepSettings = (config: ConfigOf<'control'> | ConfigOf<'up'>): SweepSettings => ({
  everyMs: config.sweepInterval,
  runCheckMs: config.sweepRunCheck,
  overdueMs: config.sweepOverdue,
  unheldMs: UNHELD_MS,
  capacityMs: config.sweepCapacity,
  retention: { bodyDays: config.retainBodies / DAY_MS, noiseDays: config.retainNoise / DAY_MS },
  fleet: { everyMs: config.fleetSweepInterval, unhealthyAfterMs: config.unhealthyAfter },
});

/** Waits for the ledger, and migrates it if that was asked for. */
const ledgerIsReady = (
  db: Database,
  { databaseSchema: schema, autoMigrate }: ConfigOf<'api'> | ConfigOf<'control'>,
  { stopping, logger }: ProcessContext,
): Promise<void> => prepareLedger({ db, schema, autoMigrate, stopping, logger });
