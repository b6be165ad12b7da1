import type { Logger } from 'pino';
import type { Secret } from '../contracts/secret';
import { ControlPlaneClient } from '../executors/control-plane-client';
import type { Executor } from '../executors/executor';
import { Polling } from './pool-worker/polling';
import { Presence, type Orders, type Standing, type WorkerEnd } from './pool-worker/presence';
import type { TemporalTarget } from './temporal-connection';

export type { WorkerEnd };

export interface PoolWorkerOptions {
  /** Where the api is. */
  apiUrl: string;
  workerId: string;
  poolId: string;
  /** Asked at each request, so that a rotated credential takes effect at once. */
  credential: () => Secret;
  target: TemporalTarget;
  /** What this worker does, at least one. */
  executors: readonly Executor[];
  /** Version of the program, told in heartbeats. */
  version: string;
  /** How long a delivery may take to end after a stop was asked for, milliseconds. */
  graceMs: number;
  /** Time between heartbeats, milliseconds. Default: what the control plane asks for. */
  heartbeatMs?: number;
  /** This worker has no more to do, or cannot go on: whoever started it is to stop it. Told once. */
  onEnd: (end: WorkerEnd) => void;
  logger: Logger;
}

/** A running pool worker. */
export interface PoolWorker {
  /** What the control plane said last; null when it was not reached yet. */
  standing(): Standing | null;
  /** Whether all its queues of the pool are polled. */
  isPolling(): boolean;
  /** Takes nothing new, finishes or hands back what it holds, sends on what it received; within about `graceMs`. */
  stop(graceMs: number): Promise<void>;
}

/**
 * Starts a pool worker: the executors first, since their other sides may be talking already; then heartbeats; then, when the control
 * plane says that this worker is active, polling. Neither the api nor Temporal has to be there. Fails when an executor cannot
 * start. It has no access to the ledger: all it does there goes through the api, under its credential.
 */
export async function startPoolWorker(options: PoolWorkerOptions): Promise<PoolWorker> {
  const { apiUrl, workerId, poolId, credential, target, executors, graceMs, logger } = options;
  const control = new ControlPlaneClient({ baseUrl: apiUrl, workerId, credential });
  for (const executor of executors) await executor.start(control);
  let standing: Standing | null = null;
  let stopped: Promise<void> | null = null;
  const shutOut = new AbortController();
  const onRefused = (reason: string): void => {
    logger.warn({ reason }, 'the control plane refuses this worker; no more work is taken until its next heartbeat');
    for (const polling of pollings) void polling.want(false);
  };
  const pollings = executors.map(
    (executor) =>
      new Polling({ target, poolId, executor, control, graceMs, logger, onRefused, shutOutSignal: shutOut.signal }),
  );
  const activeWork = (): string[] => pollings.flatMap(({ active }) => [...active]);
  const presence: Presence = new Presence({
    control,
    poolId,
    version: options.version,
    everyMs: options.heartbeatMs,
    activeWork,
    executors,
    isTemporalFailing: () => pollings.some(({ isFailing }) => isFailing),
    onOrders: (orders) => obey(orders),
    onEnd: options.onEnd,
    logger,
  });
  const obey = ({ standing: now, duty, slots, openWork }: Orders): void => {
    standing = now;
    if (duty === 'stop') shutOut.abort();
    for (const polling of pollings) void polling.want(duty === 'work' && stopped === null, slots);
    if (duty === 'drain' && openWork === 0 && activeWork().length === 0) {
      presence.end({ kind: 'drained', message: 'this worker is drained' });
    }
  };
  presence.start();
  return {
    standing: () => standing,
    isPolling: () => pollings.every(({ isRunning }) => isRunning),
    stop: (grace) => (stopped ??= stop(grace)),
  };

  async function stop(grace: number): Promise<void> {
    // What is said when it is let in no more is not taken.
    const deadline = Date.now() + (shutOut.signal.aborted ? 0 : grace);
    await Promise.all([presence.stop(), ...pollings.map((polling) => polling.stop())]);
    for (const executor of executors) await executor.stop(Math.max(deadline - Date.now(), 1_000));
  }
}
