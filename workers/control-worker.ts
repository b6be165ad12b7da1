import type { Client } from '@temporalio/client';
import { Worker, type NativeConnection } from '@temporalio/worker';
import type { Logger } from 'pino';
import { createControlActivities } from '../activities/control-activities';
import { LanePump, type LanePumpOptions } from '../activities/lane-pump';
import { Sweeper, type SweepSettings } from '../activities/sweeper';
import { CONTROL_TASK_QUEUE } from '../contracts/names';
import type { Database } from '../ledger/database';

export interface ControlWorkerOptions {
  connection: NativeConnection;
  client: Client;
  namespace: string;
  db: Database;
  logger: Logger;
  /** The prebuilt workflow bundle. */
  workflowBundlePath: string;
  suspectBackoffMs: number;
  sweeps: SweepSettings;
  /** Is told of workloads whose turn came; without it the relay finds them. */
  wakes?: LanePumpOptions['wakes'];
  /** How long running tasks may take after a stop was asked for. Default 30 s. */
  shutdownGraceMs?: number;
  /** Default `control`; tests use their own. */
  taskQueue?: string;
}

export interface ControlWorker {
  /** Resolves when the worker has stopped. Fails when Temporal was lost for good. */
  run(): Promise<void>;
  /** Stops polling; `run` resolves when what is held is finished. */
  shutdown(): void;
}

/** The workflow worker: decides and drives workloads, and sweeps for what fell out of Temporal. */
export async function createControlWorker(options: ControlWorkerOptions): Promise<ControlWorker> {
  const sweeper = new Sweeper({ ...options, settings: options.sweeps });
  const lanes = new LanePump({ db: options.db, wakes: options.wakes ?? null, logger: options.logger });
  const worker = await Worker.create({
    connection: options.connection,
    namespace: options.namespace,
    taskQueue: options.taskQueue ?? CONTROL_TASK_QUEUE,
    workflowBundle: { codePath: options.workflowBundlePath },
    activities: { ...createControlActivities({ ...options, lanes }) },
    shutdownGraceTime: options.shutdownGraceMs ?? 30_000,
    maxCachedWorkflows: 500,
    maxConcurrentWorkflowTaskExecutions: 40,
    maxConcurrentLocalActivityExecutions: 40,
    maxConcurrentActivityTaskExecutions: 20,
  });
  return {
    async run() {
      sweeper.start();
      lanes.start();
      try {
        await worker.run();
      } finally {
        await Promise.all([sweeper.stop(), lanes.stop()]);
      }
    },
    shutdown() {
      if (worker.getState() === 'RUNNING') worker.shutdown();
    },
  };
}
