import { z } from 'zod';
import { boundedJson } from './events';
import { externalId } from './ids';

/** Bytes of a value as JSON in UTF-8, at most. */
const MAX_STATE_BYTES = 64 * 1024;
/** Keys that a source may have at once. */
export const MAX_STATE_KEYS = 1000;
/** Versions of a key that are kept, the present one included. */
export const KEPT_STATE_VERSIONS = 20;

const stateValue = boundedJson(MAX_STATE_BYTES);

/** `PUT /api/sources/{source}/state/{key}`. */
export const stateWrite = z.strictObject({ value: stateValue }).meta({ id: 'SourceStateWrite' });

/** An ETag of source state: its version, with or without the quotes. */
export const stateEtag = z
  .string()
  .regex(/^(?:"[1-9][0-9]{0,15}"|[1-9][0-9]{0,15})$/, 'must be an ETag of this key, e.g. "3"')
  .transform((text) => Number(text.replaceAll('"', '')));

/** What a batch of events moves on together with its events. */
export const batchState = z
  .strictObject({
    /** Default: the source of the events. */
    source: externalId.optional(),
    key: externalId,
    /** The ETag that the key must have; null when it must not exist. */
    if_match: stateEtag.nullable(),
    value: stateValue,
  })
  .meta({ id: 'BatchState' });
export type BatchState = z.infer<typeof batchState>;

/** The name of a state. */
export const stateName = z.object({ source: externalId, key: externalId });

const version = z.int().meta({ description: 'Grows with each change, deletions included; never used twice.' });
const time = z.iso.datetime();

/** A key as a list shows it. */
export const stateSummary = z
  .object({
    source: z.string(),
    key: z.string(),
    version,
    /** Of its value as JSON. */
    bytes: z.int(),
    updated_at: time,
  })
  .meta({ id: 'SourceStateSummary' });
export type StateSummary = z.infer<typeof stateSummary>;

/** A key with its value. */
export const stateDocument = z
  .object({ source: z.string(), key: z.string(), version, value: z.unknown(), updated_at: time })
  .meta({ id: 'SourceState' });
export type StateDocument = z.infer<typeof stateDocument>;

/** One version of a key. */
export const stateVersion = z
  .object({
    version,
    /** The key was deleted by it; there is no value then. */
    deleted: z.boolean(),
    value: z.unknown().optional(),
    updated_at: time,
    /** Who: `token:<id>`. */
    updated_by: z.string(),
  })
  .meta({ id: 'SourceStateVersion' });
export type StateVersion = z.infer<typeof stateVersion>;
