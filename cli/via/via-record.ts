import { z } from 'zod';
import { executionEnvelope, type ExecutionEnvelope } from '../../contracts/execution';
import { runSpec } from '../../contracts/run';
import { DECISIONS, WORKLOAD_STATES } from '../../contracts/terminology';
import { CLOSING } from '../../domain/workload-moves';

/** What `exec` reads of a workload's record. */
export const viaRecord = z.object({
  workload_id: z.string(),
  state: z.enum(WORKLOAD_STATES),
  reason: z.string(),
  rule_id: z.string().nullable(),
  pool_id: z.string().nullable(),
  executor: z.string().nullable(),
  delivery: z.int(),
  may_still_run: z.boolean(),
  decision: z
    .object({
      decision: z.enum(DECISIONS),
      reason: z.string(),
      duplicate_of: z.string().nullable(),
      run: runSpec.nullish(),
    })
    .nullable(),
  deliveries: z.array(z.object({ number: z.int(), worker_id: z.string(), execution: executionEnvelope.nullish() })),
});
export type ViaRecord = z.infer<typeof viaRecord>;

/** Nothing more comes of it without somebody's doing. */
export const isOver = ({ state }: ViaRecord): boolean => state === 'lost' || CLOSING.includes(state);

/** What its latest delivery left; null when it left none. */
export function envelopeOf({ delivery, deliveries }: ViaRecord): ExecutionEnvelope | null {
  const last = deliveries.find(({ number }) => number === delivery);
  return (last?.execution as ExecutionEnvelope | null | undefined) ?? null;
}
