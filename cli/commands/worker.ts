import path from 'node:path';
import type { Logger } from 'pino';
import type { Executor } from '../../executors/executor';
import { createOpenCrowExecutor } from '../../executors/opencrow';
import { openDataDir } from '../../workers/data-dir-lock';
import { startPoolWorker, type WorkerEnd } from '../../workers/pool-worker';
import { commandExecutors, type OfferedBackends } from '../../workers/pool-worker/command-executors';
import { runProcess } from '../../workers/run-process';
import { configuredTemporal } from '../../workers/temporal-connection';
import { installTemporalRuntime } from '../../workers/temporal-runtime';
import { ConfigError, type ConfigOf } from '../config';
import { defaultDataDir } from '../config/options';
import { CommandFailed, EXIT } from '../exit-codes';
import { createLogger } from '../logger';
import { backendSettings } from './exec';
import { metricsAddress } from '../metrics-address';
import { serviceVersion } from '../version';

/** `workloadd worker`: no database, only its credential, the api and Temporal. */
export async function runWorker(config: ConfigOf<'worker'>): Promise<void> {
  const missing = missingOptions(config);
  if (missing !== null) throw new ConfigError([missing]);
  const logger = createLogger(config).child({ component: 'worker', worker_id: config.workerId });
  const target = configuredTemporal();
  installTemporalRuntime({ logger, metricsAddress: metricsAddress(config.metrics) });
  const spoolDir =
    config.spoolDir ?? path.join(config.dataDir ?? defaultDataDir(process.env), 'workers', config.workerId);
  await runProcess({
    logger,
    graceMs: config.shutdownGrace,
    start: async ({ parts, fail, end }) => {
      const spool = await openDataDir(spoolDir, 0o700);
      parts.add('spool lock', { stop: () => spool.release() });
      const worker = await startPoolWorker({
        apiUrl: config.apiUrl,
        workerId: config.workerId,
        poolId: config.pool,
        credential: config.workerCredential,
        target,
        executors: executorsOf(config, spool.path, logger),
        version: serviceVersion(),
        graceMs: config.shutdownGrace,
        onEnd: (why) => (why.kind === 'drained' ? end() : fail(failureOf(why))),
        logger,
      });
      parts.add('pool worker', worker);
    },
  });
}

/** A drained worker is done; every other end says by its exit code whether starting it again can help. */
function failureOf({ kind, message }: WorkerEnd): CommandFailed {
  const codes = { drained: EXIT.ok, refused: EXIT.refused, incompatible: EXIT.incompatible, misplaced: EXIT.failure };
  return new CommandFailed(message, codes[kind]);
}

/** A worker without anything to do, or with half of an OpenCrow, is a mistake. */
function missingOptions({ backends, triggerPipe, lifecycleSocket }: ConfigOf<'worker'>): string | null {
  if (triggerPipe === undefined && lifecycleSocket === undefined) {
    if (backends.length > 0) return null;
    return 'this worker would do nothing: name its OpenCrow by --trigger-pipe and --lifecycle-socket, or what it runs by --backends';
  }
  if (triggerPipe === undefined)
    return '--trigger-pipe is required with --lifecycle-socket: both belong to one OpenCrow';
  if (lifecycleSocket === undefined) {
    return '--lifecycle-socket is required with --trigger-pipe: both belong to one OpenCrow';
  }
  return null;
}

function executorsOf(config: ConfigOf<'worker'>, spoolDir: string, logger: Logger): Executor[] {
  const { triggerPipe, lifecycleSocket, workerId, apiUrl } = config;
  const commands = commandExecutors(offeredBackends(config), {
    workerId,
    apiUrl,
    spoolDir,
    graceMs: config.shutdownGrace,
    logger,
  });
  if (triggerPipe === undefined || lifecycleSocket === undefined) return commands;
  const openCrow = createOpenCrowExecutor({
    triggerPipe,
    lifecycleSocket,
    socketMode: config.lifecycleSocketMode,
    ...(config.lifecycleSocketGroup === undefined ? {} : { socketGroup: config.lifecycleSocketGroup }),
    spoolDir,
    logger,
  });
  return [openCrow, ...commands];
}

/** What the options say of the backends that a worker offers. */
export function offeredBackends(config: ConfigOf<'worker'> | ConfigOf<'up'>): OfferedBackends {
  const { backends: kinds, workspace, sandboxProfiles } = config;
  return { kinds, workspace, sandboxProfiles, ...backendSettings(config) };
}
