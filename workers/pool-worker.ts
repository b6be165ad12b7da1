import type { Logger } from 'pino';
import type { Secret } from '../contracts/secret';
import { ControlPlaneClient } from '../executors/control-plane-client';
import type { Executor } from '../executors/executor';
import { Polling } from './pool-worker/polling';
import { Presence, type Standing } from './pool-worker/presence';
import type { TemporalTarget } from './temporal-connection';

export interface PoolWorkerOptions {
  /** Where the api is. */
  apiUrl: string;
  workerId: string;
  poolId: string;
  /** Asked at each request, so that a rotated credential takes effect at once. */
  credential: () => Secret;
  target: TemporalTarget;
  executor: Executor;
  /** Version of the program, told in heartbeats. */
  version: string;
  /** How long a delivery may take to end after a stop was asked for, milliseconds. */
  graceMs: number;
  /** Time between heartbeats, milliseconds. Default 15,000. */
  heartbeatMs?: number;
  /** This worker can never work as it was started. */
  onMisplaced: (error: Error) => void;
  logger: Logger;
}

/** A running pool worker. */
export interface PoolWorker {
  /** What the control plane said last; null when it was not reached yet. */
  standing(): Standing | null;
  /** Whether a Temporal worker polls the pool's queue. */
  isPolling(): boolean;
  /** Takes nothing new, finishes or hands back what it holds, sends on what it received; within about `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts a pool worker: the executor first, since its other side may be talking already; then heartbeats; then, when the control
 * plane says that this worker is active, polling. Neither the api nor Temporal has to be there. Fails when the executor cannot
 * start. It has no access to the ledger: all it does there goes through the api, under its credential.
 */
export async function startPoolWorker(options: PoolWorkerOptions): Promise<PoolWorker> {
  const { apiUrl, workerId, poolId, credential, target, executor, graceMs, logger } = options;
  const control = new ControlPlaneClient({ baseUrl: apiUrl, workerId, credential });
  await executor.start(control);
  let standing: Standing | null = null;
  let stopping = false;
  const polling = new Polling({
    target,
    poolId,
    executor,
    control,
    graceMs,
    logger,
    onRefused: (reason) => {
      logger.warn({ reason }, 'the control plane refuses this worker; no more work is taken until its next heartbeat');
      void polling.want(false);
    },
  });
  const presence = new Presence({
    control,
    poolId,
    version: options.version,
    everyMs: options.heartbeatMs ?? 15_000,
    activeWork: () => [...polling.active],
    executor,
    onStanding: (now, slots) => {
      standing = now;
      void polling.want(now === 'active' && !stopping, slots);
    },
    onMisplaced: (error) => options.onMisplaced(error),
    logger,
  });
  presence.start();
  return {
    standing: () => standing,
    isPolling: () => polling.isRunning,
    async stop(grace) {
      const deadline = Date.now() + grace;
      stopping = true;
      await Promise.all([presence.stop(), polling.want(false)]);
      await executor.stop(Math.max(deadline - Date.now(), 1_000));
    },
  };
}
