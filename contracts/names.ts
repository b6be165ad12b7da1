/** How ids become names in Temporal and on the wire. Free of zod, since workflow code loads it anew for each run. */

/** The Temporal workflow id of a workload. */
export const workflowIdOf = (id: string): string => `workload/${id}`;

/** The Temporal task queue of a pool. */
export const taskQueueOf = (poolId: string): string => `pool:${poolId}`;

/** The queue of the control workers. */
export const CONTROL_TASK_QUEUE = 'control';

/**
 * The id a delivery carries on the wire: the plain workload id for the first delivery,
 * `<workload_id>~<n>` for redelivery n. Executors echo it, so deliveries are told apart.
 */
export const deliveryIdOf = (id: string, number: number): string => (number === 1 ? id : `${id}~${number}`);

/** The inverse of {@link deliveryIdOf}; null for anything that this service cannot have sent. */
export function parseDeliveryId(value: string): { workloadId: string; number: number } | null {
  const match = /^(wl_[a-z2-7]{32})(?:~([1-9][0-9]{0,5}))?$/.exec(value);
  if (!match) return null;
  const number = match[2] === undefined ? 1 : Number(match[2]);
  return number === 1 && match[2] !== undefined ? null : { workloadId: match[1]!, number };
}
