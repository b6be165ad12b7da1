import { z } from 'zod';
import { storableText } from './ids';

/** Version of the worker protocol that this service speaks. Workers tell theirs with each heartbeat. */
export const PROTOCOL_VERSION = 1;
/** What pool workers of this version read and write. */
export const CHECKPOINT_SCHEMAS: readonly number[] = [1];
export const EVENT_CONTRACTS: readonly number[] = [1];

/** Versions of a schema or a contract that one side knows, each once. */
export const schemaVersions = z
  .array(z.int().min(0).max(1_000_000))
  .max(100)
  .refine((list) => new Set(list).size === list.length, 'must hold each version once');

/** A version as programs tell it: numbers with dots, maybe followed by `-` and a name of what comes before it, e.g. `1.4.0-rc.2`. */
const programVersion = z
  .string()
  .max(64)
  .regex(/^v?\d{1,9}(\.\d{1,9}){0,5}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$/, 'must be a version such as 1.4.0');

/**
 * What becomes of a worker that does not fit:
 * - `reject`: its heartbeats are refused, 409 `worker.version_incompatible`
 * - `pause`: it is paused
 * - `drain`: it is drained
 *
 * In each case it is given no work, and is active again only by an explicit act.
 */
const ON_INCOMPATIBLE = ['reject', 'pause', 'drain'] as const;

/** Which workers fit a pool. What a worker did not declare does not fit. Absent fields ask for nothing. */
export const compatibilityPolicy = z.strictObject({
  /** Of the worker protocol. */
  min_protocol: z.int().min(0).max(1_000_000).optional(),
  max_protocol: z.int().min(0).max(1_000_000).optional(),
  /** Of the worker's program. */
  min_version: programVersion.optional(),
  /** Of the runtime that it drives. */
  min_runtime_version: programVersion.optional(),
  /** Flags that it must have, by itself or by its pool. */
  flags: z.array(storableText(128).min(1)).max(100).optional(),
  /** It must read all of these. */
  checkpoint_schemas: schemaVersions.optional(),
  event_contracts: schemaVersions.optional(),
  /** Default `reject`. */
  on_incompatible: z.enum(ON_INCOMPATIBLE).optional(),
});
export type CompatibilityPolicy = z.infer<typeof compatibilityPolicy>;
