import { parseDeliveryId } from '../contracts/names';
import type { Queryable } from './database';

/** Notes that a runner said that a delivery's job is done; a repeat changes nothing. False: no runner has this delivery. */
export async function noteRunnerDone(db: Queryable, deliveryId: string): Promise<boolean> {
  const delivery = parseDeliveryId(deliveryId);
  if (!delivery) return false;
  const noted = await db.query(
    `UPDATE deliveries SET runner_done_at = coalesce(runner_done_at, clock_timestamp())
     WHERE workload_id = $1 AND number = $2 AND executor IN ('remote', 'ci')
     RETURNING number`,
    [delivery.workloadId, delivery.number],
  );
  return noted.length > 0;
}
