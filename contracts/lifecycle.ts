import { z } from 'zod';
import { storableText } from './ids';
import { LIFECYCLE_STATUSES } from './terminology';

const text = storableText;
/** Postgres integer. */
const MAX_ATTEMPT = 2_147_483_647;

/**
 * One lifecycle event as a worker forwards it: the fields of OpenCrow's `workload.lifecycle` datagram, version 1,
 * bounded and cleaned by the worker. `delivery_id` is the datagram's `workload_id` (what the trigger line carried).
 */
export const lifecycleEvent = z.strictObject({
  /** Identity within one OpenCrow database: `opencrow:<instance>:<inbox_id>:<attempt>:<status>`. Not globally unique. */
  event_id: text(512),
  delivery_id: text(300),
  status: z.enum(LIFECYCLE_STATUSES),
  occurred_at: text(64),
  source_event_id: text(1024).optional(),
  source: text(1024).optional(),
  action: text(1024).optional(),
  opencrow_instance: text(256).optional(),
  inbox_id: z.number().int().nonnegative().optional(),
  attempt: z.number().int().nonnegative().max(MAX_ATTEMPT).optional(),
  /** `details.reply_suppressed`: a completed turn without an answer; suspect of having been cut short. */
  reply_suppressed: z.boolean().optional(),
  /** `details.error`, cut to 2,000 characters by the worker. Untrusted text. */
  error: text(2000).optional(),
  error_kind: text(64).optional(),
  /** The datagram was cut off and only its head could be read. */
  truncated: z.boolean().optional(),
});
export type LifecycleEvent = z.infer<typeof lifecycleEvent>;

/** A datagram that could not be read as a lifecycle event at all: kept as evidence of noise or forgery. */
const unreadableDatagram = z.strictObject({
  unreadable: z.literal(true),
  /** Lower-case hex SHA-256 of the datagram. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.number().int().nonnegative(),
  /** Why it could not be read, a code such as `not_json`, `not_utf8`, `wrong_version`, `missing_field`. */
  why: text(64),
});

/** `POST /api/workers/{id}/lifecycle`: in the order received. */
export const lifecycleBatch = z.strictObject({
  records: z
    .array(z.union([lifecycleEvent, unreadableDatagram]))
    .min(1)
    .max(100),
});
export type LifecycleRecord = z.infer<typeof lifecycleBatch>['records'][number];

/** What the ledger did with one record. `duplicate` means it already had it. */
export const LIFECYCLE_EFFECTS = [
  'applied',
  'corrected',
  'recorded',
  'double_execution',
  'duplicate',
  'unknown_delivery',
  'mismatch',
  'too_late',
  'unreadable',
  'rate_limited',
] as const;
export type LifecycleEffect = (typeof LIFECYCLE_EFFECTS)[number];

/** Answer to a lifecycle batch: one result per record, same order. */
export interface LifecycleResults {
  results: { effect: LifecycleEffect; state?: string }[];
}
