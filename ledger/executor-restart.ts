import type { Queryable } from './database';
import { clearSuspect } from './suspect-slot';

/**
 * A worker saw its executor gone and back. A silent agent is gone with it, so a suspect slot closes; and what was handed over
 * before may be lost without a word, so each open delivery is marked suspect until something is heard of it.
 */
export async function noteExecutorRestart(tx: Queryable, workerId: string): Promise<void> {
  await clearSuspect(tx, workerId, 'executor_restarted', `worker:${workerId}`);
  await tx.query(
    `WITH open AS (
       UPDATE deliveries SET suspect_since = clock_timestamp()
       WHERE worker_id = $1 AND executor = 'opencrow' AND slot_until > clock_timestamp() AND suspect_since IS NULL
       RETURNING workload_id, number, delivery_id
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     SELECT w.tenant_id, w.workload_id, 'delivery.suspect', 'worker:' || $1::text,
       jsonb_build_object('delivery', open.number, 'delivery_id', open.delivery_id, 'why', 'executor_restarted')
     FROM open JOIN workloads w USING (workload_id)`,
    [workerId],
  );
}
