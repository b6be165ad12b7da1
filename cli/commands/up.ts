import { ledgerAt } from '../../workers/ledger-connection';
import { runProcess } from '../../workers/run-process';
import { configuredTemporal, isTemporalConfigured } from '../../workers/temporal-connection';
import { installTemporalRuntime } from '../../workers/temporal-runtime';
import { banner } from '../../workers/up/banner';
import { startUp, type UpOptions } from '../../workers/up-process';
import type { ConfigOf } from '../config';
import { defaultDataDir } from '../config/options';
import { createLogger } from '../logger';
import { metricsAddress } from '../metrics-address';
import { serviceVersion } from '../version';
import { offeredBackends } from './worker';
import { apiConfig, sweepSettings, webhookSettings } from './serve';

/** `workloadd up` */
export async function runUp(config: ConfigOf<'up'>): Promise<void> {
  const logger = createLogger(config);
  const options = upOptions(config);
  installTemporalRuntime({ logger, metricsAddress: metricsAddress(config.metrics) });
  await runProcess({
    logger,
    graceMs: config.shutdownGrace,
    start: async (context) => {
      const facts = await startUp(options, context);
      console.log(banner(facts));
    },
  });
}

function upOptions(config: ConfigOf<'up'>): UpOptions {
  const { databaseUrl, databaseSchema, databasePoolSize } = config;
  return {
    dataDir: config.dataDir ?? defaultDataDir(process.env),
    listen: config.listen,
    api: apiConfig(config),
    webhooks: webhookSettings(config),
    artifacts: { folder: config.artifactsDir, retainMs: config.retainArtifacts },
    ledger: databaseUrl ? ledgerAt(databaseUrl().reveal(), databaseSchema, databasePoolSize) : null,
    databaseSchema,
    databasePoolSize,
    temporal: isTemporalConfigured(process.env) ? configuredTemporal() : null,
    temporalUiPort: config.temporalUiPort,
    temporalCli: config.temporalCli,
    policyFile: config.policy,
    worker: { id: config.workerId ?? 'local', pool: config.pool, maxOpenDeliveries: config.maxOpenDeliveries ?? 1 },
    triggerPipe: config.triggerPipe,
    lifecycleSocket: config.lifecycleSocket,
    lifecycleSocketMode: config.lifecycleSocketMode,
    lifecycleSocketGroup: config.lifecycleSocketGroup,
    spoolDir: config.spoolDir,
    backends: offeredBackends(config),
    suspectBackoffMs: config.suspectBackoff,
    sweeps: sweepSettings(config),
    sealEveryMs: config.sealInterval,
    graceMs: config.shutdownGrace,
    version: serviceVersion(),
    announce: (message) => console.log(message),
  };
}
