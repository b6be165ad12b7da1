import { z } from 'zod';
import { boundedJson } from './events';
import { externalId, storableText } from './ids';

/**
 * What a worker writes under its lease: `POST /api/workers/{worker_id}/work/{work_id}/<kind>`, the token in the header `Lease-Token`. A write
 * that is repeated is answered as before; the same id with other content is `idempotency.content_mismatch`.
 */
export const WORK_LIMITS = {
  /** Events of one request. */
  eventBatch: 100,
  /** Bytes of one event's payload, and of a projection's view, as JSON. */
  payloadBytes: 64 * 1024,
  viewBytes: 256 * 1024,
  /** Of one workload. */
  events: 10_000,
  eventBytes: 64 * 1024 * 1024,
  commands: 1_000,
  artifacts: 1_000,
  deliveries: 1_000,
  finalizations: 100,
  usage: 10_000,
  /** The newest ones are kept. */
  checkpoints: 20,
} as const;

const code = z.string().regex(/^[a-z0-9_.]{1,64}$/, 'must be a code: lower case letters, digits, "_" and "."');
const sequence = z.int().min(1);
/** Of an object, lower-case hex. */
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hex');
const bytes = z.int().min(0);

/** One event of the work. Its sequence is the worker's own and grows, with or without gaps, over all deliveries of the workload. */
const workEvent = z.strictObject({
  event_id: externalId,
  sequence,
  type: code,
  payload: boundedJson(WORK_LIMITS.payloadBytes),
});
export type WorkEvent = z.infer<typeof workEvent>;

/** `POST events`: 1–100 events in the order of their sequences; all of them or none. */
export const workEventsRequest = z
  .strictObject({ events: z.array(workEvent).min(1).max(WORK_LIMITS.eventBatch) })
  .superRefine(({ events }, context) => {
    const ids = new Set<string>();
    for (const [index, event] of events.entries()) {
      const refuse = (field: keyof WorkEvent, message: string): void =>
        context.addIssue({ code: 'custom', path: ['events', index, field], message });
      if (index > 0 && event.sequence <= events[index - 1]!.sequence)
        refuse('sequence', 'must be after the one before');
      if (ids.has(event.event_id)) refuse('event_id', 'must not be there twice');
      ids.add(event.event_id);
    }
  });

/** Answer of `POST events`: the same for every repeat. */
export const workEventsWritten = z
  .object({ events: z.array(z.object({ event_id: z.string(), sequence: z.int(), recorded_at: z.iso.datetime() })) })
  .meta({ id: 'WorkEventsWritten' });
export type WorkEventsWritten = z.infer<typeof workEventsWritten>;

/** An event of the work as it is read. */
export const workEventRecord = z
  .object({
    event_id: z.string(),
    sequence: z.int(),
    type: z.string(),
    payload: z.unknown(),
    /** Of the workload's deliveries, the one it came from. */
    delivery: z.int(),
    recorded_at: z.iso.datetime(),
  })
  .meta({ id: 'WorkEvent' });
export type WorkEventRecord = z.infer<typeof workEventRecord>;

/** How managed work ended, by its worker's own word. */
export const RUN_ENDS = ['completed', 'failed', 'cancelled'] as const;
export type RunEnd = (typeof RUN_ENDS)[number];

/** `POST run-status`: how managed work stands. Its end is told once; `running` may be told by `renew` too. */
export const runStatusRequest = z.strictObject({
  status: z.enum(['running', ...RUN_ENDS]),
  code: code.optional(),
  /** Kept in the ledger, never in Temporal. */
  summary: storableText(500).optional(),
});
export type RunStatusRequest = z.infer<typeof runStatusRequest>;

/** Where a command of a session stands; it only goes on in this order, and has one end. */
export const COMMAND_STATES = ['pending', 'running', 'acked', 'failed'] as const;

/** `POST command-status`: a command and where it stands. */
export const commandStatusRequest = z.strictObject({
  command_id: externalId,
  /** Its place among the workload's commands; never another for the same id. */
  sequence,
  status: z.enum(COMMAND_STATES),
  code: code.optional(),
});
export type CommandStatusRequest = z.infer<typeof commandStatusRequest>;

const recordTimes = { recorded_at: z.iso.datetime(), updated_at: z.iso.datetime() };

/** A command as it is read. */
export const commandRecord = z
  .object({
    command_id: z.string(),
    sequence: z.int(),
    status: z.enum(COMMAND_STATES),
    code: z.string().nullable(),
    ...recordTimes,
  })
  .meta({ id: 'WorkCommand' });
export type CommandRecord = z.infer<typeof commandRecord>;

/** What readers of the work see of it now, as its worker drew it. */
export const projectionWrite = z.strictObject({ sequence, view: boundedJson(WORK_LIMITS.viewBytes) });
export type ProjectionWrite = z.infer<typeof projectionWrite>;

/** The end of one workflow run: its effects happen once. */
export const finalization = z.strictObject({
  run_id: externalId,
  status: z.enum(RUN_ENDS),
  code: code.optional(),
  summary: storableText(500).optional(),
});
export type Finalization = z.infer<typeof finalization>;

/** A checkpoint whose objects are stored: the version after the kept one. */
export const checkpointWrite = z.strictObject({
  version: z.int().min(1),
  /** Only workers that declare it go on with the work. */
  schema: z.int().min(0).max(2_147_483_647),
  /** Of the manifest. */
  sha256,
  /** Bytes of all that it names. */
  size: bytes,
});
export type CheckpointWrite = z.infer<typeof checkpointWrite>;

/** How long an object is kept. */
const RETENTION_CLASSES = ['short', 'standard', 'long'] as const;

/** An artifact whose object is stored. */
export const artifactWrite = z.strictObject({
  artifact_id: externalId,
  size: bytes,
  sha256,
  content_type: z.string().regex(/^[a-z0-9!#$&^_.+-]{1,64}\/[a-z0-9!#$&^_.+-]{1,64}$/, 'must be a media type'),
  retention_class: z.enum(RETENTION_CLASSES),
});
export type ArtifactWrite = z.infer<typeof artifactWrite>;

/** Where a message to a channel stands; it only goes on in this order, and has one end. */
export const CHANNEL_DELIVERY_STATES = ['pending', 'sending', 'sent', 'failed'] as const;

/** A message to a channel that came of the work. */
export const channelDelivery = z.strictObject({
  delivery_id: externalId,
  channel: externalId,
  status: z.enum(CHANNEL_DELIVERY_STATES),
  code: code.optional(),
});
export type ChannelDelivery = z.infer<typeof channelDelivery>;

/** What the work used. */
export const usageWrite = z.strictObject({
  event_id: externalId,
  kind: code,
  quantity: z.number().min(0).max(Number.MAX_SAFE_INTEGER),
  unit: code,
});
export type UsageWrite = z.infer<typeof usageWrite>;
