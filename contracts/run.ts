import { z } from 'zod';

/** Variables that a command of a workload finds in its environment, beside those its sandbox profile exposes. */
export const RUN_VARIABLES = {
  workloadId: 'WORKLOAD_ID',
  deliveryId: 'WORKLOAD_DELIVERY_ID',
  /** Secret; only when its rule grants capabilities. */
  capabilityToken: 'WORKLOAD_CAPABILITY_TOKEN',
  /** JSON: `[{"hook", "operations"}]`; goes with the token. */
  capabilities: 'WORKLOAD_CAPABILITIES',
} as const;

/** How the end of a runner's job is noticed: by polls alone, or by a signed call and slow polls for safety. */
export const RUN_COMPLETIONS = ['poll', 'webhook'] as const;

/** Bounds of the parts of a command, in characters where nothing else is said. */
export const RUN_LIMITS = {
  /** Arguments. */
  args: 1000,
  /** One argument; all of them together are bounded in bytes. */
  argvChars: 128 * 1024,
  /** Command and working folder. */
  pathChars: 4096,
  imageChars: 512,
  endpointChars: 2048,
  jobIdChars: 256,
} as const;

/**
 * The command of one workload: its rule's `run` block with every template filled in from the event. Decided at admission and
 * kept; what a worker is told with its claim.
 */
export const runSpec = z
  .object({
    command: z.string(),
    args: z.array(z.string()),
    /** Relative to the worker's workspace. */
    cwd: z.string(),
    /** Id of a sandbox profile: a bundled one or a file of the worker's. */
    sandbox: z.string(),
    /** Milliseconds; null: the backend's default. */
    timeout: z.number().nullable(),
    image: z.string().nullable(),
    digest: z.string().nullable(),
    endpoint: z.string().nullable(),
    job_id: z.string().nullable(),
    /** Names of the worker's variables it gets, each exposed by the profile; null: all that the profile exposes. */
    env: z.array(z.string()).nullable(),
    /** May be run again when nobody knows whether it ran. */
    rerunnable: z.boolean(),
    completion: z.enum(RUN_COMPLETIONS),
  })
  .meta({ id: 'Run' });
export type RunSpec = z.infer<typeof runSpec>;
