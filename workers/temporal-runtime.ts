import { Runtime } from '@temporalio/worker';
import type { LogLevel, LogMetadata, Logger as TemporalLogger } from '@temporalio/common';
import type { Logger } from 'pino';

const LEVELS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;
/** What is taken over of Temporal's log entries: bounded, and never a payload. */
const FIELDS = ['sdkComponent', 'workflowId', 'runId', 'activityType', 'attempt', 'taskQueue', 'subsystem', 'target'];

export interface TemporalRuntimeOptions {
  logger: Logger;
  /** Where to serve Prometheus metrics of the worker, `host:port`. Default: nowhere. */
  metricsAddress?: string | undefined;
}

/**
 * Sets Temporal's runtime up for this process: its log goes into ours, and it leaves signals alone, since they have one owner.
 * Call it once, before anything else of the SDK.
 */
export function installTemporalRuntime({ logger, metricsAddress }: TemporalRuntimeOptions): void {
  Runtime.install({
    logger: bridge(logger.child({ component: 'temporal' })),
    shutdownSignals: [],
    telemetryOptions: {
      logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} },
      ...(metricsAddress === undefined ? {} : { metrics: { prometheus: { bindAddress: metricsAddress } } }),
    },
  });
}

function bridge(logger: Logger): TemporalLogger {
  const log = (level: LogLevel, message: string, meta?: LogMetadata): void =>
    logger[isDetail(level, message) ? 'debug' : LEVELS[level]](fieldsOf(meta), message);
  return {
    log,
    trace: (message, meta) => log('TRACE', message, meta),
    debug: (message, meta) => log('DEBUG', message, meta),
    info: (message, meta) => log('INFO', message, meta),
    warn: (message, meta) => log('WARN', message, meta),
    error: (message, meta) => log('ERROR', message, meta),
  };
}

/** The SDK's own news (a worker's states), and its surprise about a worker that has activities only. */
const isDetail = (level: LogLevel, message: string): boolean =>
  level === 'INFO' || message.startsWith('No workflows registered');

function fieldsOf(meta: LogMetadata = {}): Record<string, unknown> {
  const fields: Record<string, unknown> = {};
  for (const name of FIELDS) if (meta[name] !== undefined) fields[name] = String(meta[name]);
  const error: unknown = meta['error'];
  if (error instanceof Error) fields['error'] = `${error.name}: ${error.message}`.slice(0, 500);
  else if (typeof error === 'string') fields['error'] = error.slice(0, 500);
  return fields;
}
