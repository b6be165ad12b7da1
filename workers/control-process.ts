import type { Logger } from 'pino';
import { AuditSealer } from '../activities/audit-sealer';
import type { SweepSettings } from '../activities/sweeper';
import type { Database } from '../ledger/database';
import { createControlWorker } from './control-worker';
import { KeptTemporalWorker } from './kept-temporal-worker';
import type { RunningParts } from './running-parts';
import type { TemporalClient, TemporalTarget } from './temporal-connection';
import { workflowBundlePath } from './workflow-bundle';

export interface ControlProcessOptions {
  db: Database;
  temporal: TemporalClient;
  target: TemporalTarget;
  suspectBackoffMs: number;
  sweeps: SweepSettings;
  /** Time between two passes of the audit's sealer, milliseconds. */
  sealEveryMs: number;
  /** How long what is held may take to finish after a stop was asked for, milliseconds. */
  graceMs: number;
  logger: Logger;
}

/**
 * Starts the control worker, which decides and drives workloads, and the audit's sealer. While Temporal is away the worker waits
 * for it.
 */
export function startControl(parts: RunningParts, options: ControlProcessOptions): KeptTemporalWorker {
  const { db, temporal, target, suspectBackoffMs, sweeps, sealEveryMs, graceMs } = options;
  const logger = options.logger.child({ component: 'control' });
  const sealer = new AuditSealer({ db, logger, everyMs: sealEveryMs });
  sealer.start();
  parts.add('audit sealer', { stop: () => sealer.stop() });
  const bundlePath = workflowBundlePath();
  const kept = new KeptTemporalWorker({
    target,
    logger,
    create: (connection) =>
      createControlWorker({
        connection,
        client: temporal.client,
        namespace: target.namespace,
        db,
        logger,
        workflowBundlePath: bundlePath,
        suspectBackoffMs,
        sweeps,
        shutdownGraceMs: graceMs,
      }),
  });
  kept.start();
  parts.add('control worker', { stop: () => kept.stop() });
  return kept;
}
