import { z } from 'zod';
import { duration } from './duration';
import { eventData, type JsonValue } from './events';
import { externalId, slug, storableText } from './ids';
import { EXECUTORS, WORKER_SCOPES, WORKER_STATES } from './terminology';

/** Bytes of a worker's or a pool's capabilities as JSON, at most. */
const MAX_CAPABILITIES_BYTES = 16_384;

/** What a worker or a pool can do. Besides these lists there may be whatever else its makers note. */
export interface Capabilities {
  flags?: string[];
  profiles?: string[];
  providers?: string[];
  [more: string]: JsonValue | undefined;
}

const LISTED = ['flags', 'profiles', 'providers'] as const;
const names = z.array(storableText(128).min(1)).max(500);

/** {@link Capabilities}: a JSON object of at most {@link MAX_CAPABILITIES_BYTES}. */
export const capabilitiesObject = eventData
  .superRefine((value, context) => {
    const text = JSON.stringify(value);
    if (new TextEncoder().encode(text).length > MAX_CAPABILITIES_BYTES) {
      context.addIssue({ code: 'custom', message: `is larger than ${MAX_CAPABILITIES_BYTES} bytes as JSON` });
    }
    if (!isStorable(value)) context.addIssue({ code: 'custom', message: 'must not hold NUL or lone surrogates' });
    for (const name of LISTED) {
      for (const issue of names.optional().safeParse(value[name]).error?.issues ?? []) {
        context.addIssue({ code: 'custom', message: issue.message, path: [name, ...issue.path] });
      }
    }
  })
  .transform((value) => value as Capabilities)
  .meta({ type: 'object', description: '`flags`, `profiles` and `providers` are lists of names; at most 16 KiB.' });

function isStorable(value: JsonValue): boolean {
  if (typeof value === 'string') return !/[\0\p{Cs}]/u.test(value);
  if (typeof value !== 'object' || value === null) return true;
  return Array.isArray(value) ? value.every(isStorable) : Object.entries(value).flat().every(isStorable);
}

/** A place that workers run in, as their operators name it. */
export const region = storableText(128).min(1);

/** `POST /api/admin/workers`. It begins as `pending`, whatever the caller may do. */
export const newWorker = z
  .strictObject({
    /** Default: one is made, `mworker_…`. */
    worker_id: slug.optional(),
    pool_id: externalId,
    display_name: storableText(256).min(1),
    version: storableText(64).min(1).optional(),
    region: region.optional(),
    capabilities: capabilitiesObject.optional(),
    /** Open deliveries and commands it may have at once. Default 1. */
    max_open_deliveries: z.int().min(1).max(1000).optional(),
  })
  .meta({ id: 'NewWorker' });
export type NewWorker = z.infer<typeof newWorker>;

const at = z.iso.datetime();

/** What a worker told of itself. */
const told = {
  version: z.string().nullable(),
  runtime_version: z.string().nullable(),
  protocol_version: z.int().nullable(),
  region: z.string().nullable(),
  capabilities: z.record(z.string(), z.unknown()),
  checkpoint_schemas: z.array(z.int()),
  event_contracts: z.array(z.int()),
  current_load: z.int(),
  last_error_code: z.string().nullable(),
  last_error_summary: z.string().nullable(),
};

/** A worker as its admins see it. */
export const workerRecord = z
  .object({
    worker_id: z.string(),
    pool_id: z.string(),
    /** Whose pool it is in; null: the operators'. */
    tenant_id: z.string().nullable(),
    display_name: z.string(),
    status: z.enum(WORKER_STATES),
    status_reason: z.string().nullable(),
    status_changed_at: at,
    max_open_deliveries: z.int(),
    open_deliveries: z.int(),
    /** Units of work that it holds under a live lease. */
    open_leases: z.int(),
    /** What it offers to do; null: it did not say, which means OpenCrow. */
    executors: z.array(z.enum(EXECUTORS)).nullable(),
    ...told,
    last_heartbeat_at: at.nullable(),
    /** Since when its slot waits for a probe, after a lost delivery. */
    suspect_since: at.nullable(),
    suspect_probe_at: at.nullable(),
    created_at: at,
    updated_at: at,
    revoked_at: at.nullable(),
  })
  .meta({ id: 'Worker' });
export type WorkerRecord = z.infer<typeof workerRecord>;

/** The last heartbeat of a worker; there is one row for each worker. */
export const heartbeatRecord = z
  .object({
    worker_id: z.string(),
    pool_id: z.string(),
    tenant_id: z.string().nullable(),
    ...told,
    active_work_ids: z.array(z.string()),
    sequence: z.int().nullable(),
    /** By the control plane's clock. */
    received_at: at,
  })
  .meta({ id: 'WorkerHeartbeat' });
export type HeartbeatRecord = z.infer<typeof heartbeatRecord>;

/** When a credential expires: in the future, at most a year ahead. */
const expiresAt = z.iso.datetime({ offset: true });

/** `POST …/credentials`. */
export const newCredential = z
  .strictObject({
    /** Default: all but `secret.reveal`. */
    scopes: z.array(z.enum(WORKER_SCOPES)).min(1).max(WORKER_SCOPES.length).optional(),
    /** In the future, at most a year ahead. Default: in 90 days. */
    expires_at: expiresAt.optional(),
  })
  .meta({ id: 'NewCredential' });

/** `POST …/credentials/{credential_id}/rotate`. */
export const credentialRotation = z
  .strictObject({
    /** Of the new one; in the future, at most a year ahead. Default: in 90 days. */
    expires_at: expiresAt.optional(),
    /** How long the old one stays good beside the new one: a duration up to 7 days, `0s` for not at all. Default 10 minutes. */
    overlap: duration('0s', '7d').optional(),
  })
  .meta({ id: 'CredentialRotation' });

/** A credential without its secret. */
export const credentialRecord = z
  .object({
    credential_id: z.string(),
    worker_id: z.string(),
    pool_id: z.string(),
    scopes: z.array(z.enum(WORKER_SCOPES)),
    /** The end of the plaintext; null for those of before version 0.3. */
    last4: z.string().nullable(),
    created_at: at,
    expires_at: at,
    revoked_at: at.nullable(),
    /** To the minute. */
    last_used_at: at.nullable(),
    rotated_from_credential_id: z.string().nullable(),
  })
  .meta({ id: 'WorkerCredential' });
export type CredentialRecord = z.infer<typeof credentialRecord>;
