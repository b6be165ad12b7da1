import path from 'node:path';
import { createOpenCrowExecutor } from '../../executors/opencrow';
import { openDataDir } from '../../workers/data-dir-lock';
import { startPoolWorker } from '../../workers/pool-worker';
import { runProcess } from '../../workers/run-process';
import { configuredTemporal } from '../../workers/temporal-connection';
import { installTemporalRuntime } from '../../workers/temporal-runtime';
import type { ConfigOf } from '../config';
import { defaultDataDir } from '../config/options';
import { createLogger } from '../logger';
import { metricsAddress } from '../metrics-address';
import { serviceVersion } from '../version';

/** `workloadd worker`: no database, only its credential, the api and Temporal. */
export async function runWorker(config: ConfigOf<'worker'>): Promise<void> {
  const logger = createLogger(config).child({ component: 'worker', worker_id: config.workerId });
  const target = configuredTemporal();
  installTemporalRuntime({ logger, metricsAddress: metricsAddress(config.metrics) });
  const spoolDir =
    config.spoolDir ?? path.join(config.dataDir ?? defaultDataDir(process.env), 'workers', config.workerId);
  await runProcess({
    logger,
    graceMs: config.shutdownGrace,
    start: async ({ parts, fail }) => {
      const spool = await openDataDir(spoolDir, 0o700);
      parts.add('spool lock', { stop: () => spool.release() });
      const executor = createOpenCrowExecutor({
        triggerPipe: config.triggerPipe,
        lifecycleSocket: config.lifecycleSocket,
        socketMode: config.lifecycleSocketMode,
        ...(config.lifecycleSocketGroup === undefined ? {} : { socketGroup: config.lifecycleSocketGroup }),
        spoolDir: spool.path,
        logger,
      });
      const worker = await startPoolWorker({
        apiUrl: config.apiUrl,
        workerId: config.workerId,
        poolId: config.pool,
        credential: config.workerCredential,
        target,
        executor,
        version: serviceVersion(),
        graceMs: config.shutdownGrace,
        onMisplaced: fail,
        logger,
      });
      parts.add('pool worker', worker);
    },
  });
}
