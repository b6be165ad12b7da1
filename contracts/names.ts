import type { ExecutorKind } from './terminology';

/** How ids become names in Temporal and on the wire. Free of zod, since workflow code loads it anew for each run. */

/** The Temporal workflow id of a workload. */
export const workflowIdOf = (id: string): string => `workload/${id}`;

/**
 * The Temporal task queue on which a pool's workers take the work of one executor: `pool:<pool_id>` for OpenCrow,
 * `pool:<pool_id>:<executor>` for commands, so that a worker is given only what it offers.
 */
export const taskQueueOf = (poolId: string, executor: ExecutorKind = 'opencrow'): string =>
  executor === 'opencrow' ? `pool:${poolId}` : `pool:${poolId}:${executor}`;

/** The queue of the control workers. */
export const CONTROL_TASK_QUEUE = 'control';

/**
 * The id a delivery carries on the wire: the plain workload id for the first delivery,
 * `<workload_id>~<n>` for redelivery n. Executors echo it, so deliveries are told apart.
 */
export const deliveryIdOf = (id: string, number: number): string => (number === 1 ? id : `${id}~${number}`);

/**
 * Key of one delivery's run on a backend: the same for whoever asks, so that what an earlier process left can be found. Letters,
 * digits and dashes.
 */
export const runKeyOf = (id: string, number: number): string => `${id.slice('wl_'.length)}-${number}`;

/** The inverse of {@link runKeyOf}; null for anything else. */
export function parseRunKey(key: string): { workloadId: string; number: number } | null {
  const match = /^([a-z2-7]{32})-([1-9][0-9]{0,5})$/.exec(key);
  return match && { workloadId: `wl_${match[1]!}`, number: Number(match[2]) };
}

/** The inverse of {@link deliveryIdOf}; null for anything that this service cannot have sent. */
export function parseDeliveryId(value: string): { workloadId: string; number: number } | null {
  const match = /^(wl_[a-z2-7]{32})(?:~([1-9][0-9]{0,5}))?$/.exec(value);
  if (!match) return null;
  const number = match[2] === undefined ? 1 : Number(match[2]);
  return number === 1 && match[2] !== undefined ? null : { workloadId: match[1]!, number };
}
