import type { Logger } from 'pino';
import { AuditSealer } from '../activities/audit-sealer';
import { fleetSweeper } from '../activities/fleet-sweeper';
import type { SweepSettings } from '../activities/sweeper';
import { WebhookDispatcher } from '../activities/webhooks/dispatcher';
import type { WebhookSettings } from '../api/webhook-settings';
import type { Database } from '../ledger/database';
import { createWakeRelay } from '../api/wake-relay';
import { createControlWorker } from './control-worker';
import { ensureFleetSchedule } from './fleet-schedule';
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
  /** Without a signing key nothing is sent; it waits in the ledger. */
  webhooks: WebhookSettings;
  /** How long what is held may take to finish after a stop was asked for, milliseconds. */
  graceMs: number;
  logger: Logger;
}

/**
 * Starts the control worker, which decides and drives workloads, the audit's sealer, the sweep of the fleet and the dispatcher of webhooks. While Temporal is away the worker waits
 * for it.
 */
export function startControl(parts: RunningParts, options: ControlProcessOptions): KeptTemporalWorker {
  const { db, temporal, target, suspectBackoffMs, sweeps, sealEveryMs, webhooks, graceMs } = options;
  const logger = options.logger.child({ component: 'control' });
  const sealer = new AuditSealer({ db, logger, everyMs: sealEveryMs });
  sealer.start();
  parts.add('audit sealer', { stop: () => sealer.stop() });
  const { everyMs, ...settings } = sweeps.fleet;
  const fleet = fleetSweeper({ db, logger, everyMs, settings });
  fleet.start(everyMs);
  parts.add('fleet sweeper', { stop: () => fleet.stop() });
  if (webhooks.signingKey) {
    const { targets: rules, signingKey } = webhooks;
    const dispatcher = new WebhookDispatcher({ db, rules, signingKey, logger });
    dispatcher.start();
    parts.add('webhook dispatcher', { stop: () => dispatcher.stop() });
  }
  // It passes on what this process learns first, as a hint; the relays of the apis send what is left.
  const wakes = createWakeRelay({ db, client: temporal.client, logger });
  const bundlePath = workflowBundlePath();
  const kept = new KeptTemporalWorker({
    target,
    logger,
    create: (connection) => {
      void ensureFleetSchedule(temporal.client, logger);
      return createControlWorker({
        connection,
        client: temporal.client,
        namespace: target.namespace,
        db,
        logger,
        workflowBundlePath: bundlePath,
        suspectBackoffMs,
        sweeps,
        wakes,
        shutdownGraceMs: graceMs,
      });
    },
  });
  kept.start();
  parts.add('wakes of control', { stop: () => wakes.stop() });
  parts.add('control worker', { stop: () => kept.stop() });
  return kept;
}
