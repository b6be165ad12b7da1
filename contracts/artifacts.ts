import { z } from 'zod';

/** What a delivery of a command leaves in the artifact store, and how a worker brings it there. */

/** What a command prints. Each is an artifact of this name. */
export const OUTPUT_STREAMS = ['stdout', 'stderr'] as const;
export type OutputStream = (typeof OUTPUT_STREAMS)[number];

/** Bytes of one artifact, at most: as many as count of what a command prints. */
export const MAX_ARTIFACT_BYTES = 32 * 1024 * 1024;

/** Bytes of one append, at most. */
export const MAX_APPEND_BYTES = 1024 * 1024;

/** Name of an artifact: one segment of a path, and none that means something to a file system. */
export const artifactName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, 'must be lower case letters, digits, "-" or "_"');

/** Number of a delivery in a path or query. */
export const deliveryNumber = z
  .string()
  .regex(/^[1-9][0-9]{0,5}$/, 'must be the number of a delivery')
  .transform(Number);

/** Answer of `POST leases/{work_id}/output`: bytes that are kept now. The next append begins there. */
export const outputKept = z.object({ size: z.int().nonnegative() }).meta({ id: 'OutputKept' });

/** One file that a delivery left. */
export const artifactRecord = z
  .object({
    name: z.string(),
    media_type: z.string(),
    /** Bytes kept so far. */
    size: z.int().nonnegative(),
    /** Lower-case hex, of all bytes kept; null until the command has ended and they were looked at. */
    sha256: z.string().nullable(),
    /** All that was printed is kept, unchanged. Null while that is not known. */
    complete: z.boolean().nullable(),
    created_at: z.iso.datetime(),
    /** When the bytes were deleted. */
    deleted_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'Artifact' });
export type ArtifactRecord = z.infer<typeof artifactRecord>;
