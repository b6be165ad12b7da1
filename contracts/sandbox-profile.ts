import { z } from 'zod';

const noControls = (value: string): boolean => !/\p{Cc}/u.test(value);
const line = z.string().min(1, 'must not be empty').max(4096).refine(noControls, 'must not hold control characters');
const variableName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'must be the name of an environment variable');
const mode = z.enum(['none', 'allowlist', 'any'], 'must be none, allowlist or any');
const list = <T extends z.ZodType>(item: T) => z.array(item).max(256);

/** What a path of a profile may be, besides a path. */
const TOKENS = ['$cwd', '$runDir', '$workerDir', '$inputPath', '$resultPath', '$artifactsDir', '$logsDir'] as const;

const pathEntry = line
  .refine((value) => !value.split(/[\\/]+/).includes('..'), 'must not climb with ..')
  .refine(
    (value) => !value.startsWith('$') || (TOKENS as readonly string[]).includes(value),
    `may begin with $ only as ${TOKENS.join(', ')}`,
  );

/**
 * A sandbox profile: what a command may touch. A field that is missing denies. The format is Cool Workflow's, so that its
 * profile files can be used as they are.
 */
export const sandboxProfile = z.strictObject({
  schemaVersion: z.literal(1, 'must be 1'),
  id: z
    .string()
    .max(128)
    .regex(/^[a-zA-Z0-9][a-zA-Z0-9_.:-]*$/, 'must be letters, digits and _ . : -, beginning with a letter or digit'),
  title: line,
  description: z.string().max(4096).optional(),
  /** Absolute, relative to the working folder, or one of the tokens. */
  readPaths: list(pathEntry).default([]),
  writePaths: list(pathEntry).default([]),
  workerOutput: z
    .strictObject({ result: z.boolean(), artifacts: z.boolean(), logs: z.boolean() })
    .partial()
    .default({}),
  /**
   * Which commands: `none`, those whose whole line (command and arguments, joined by one space) is in `allow`, or `any`. A line
   * or a command in `deny` is never run.
   */
  execute: z
    .strictObject({ mode, allow: list(line).default([]), deny: list(line).default([]) })
    .default({ mode: 'none', allow: [], deny: [] }),
  /** `allowlist` is held as `none` by backends that cannot tell targets apart. */
  network: z.strictObject({ mode, allow: list(line).default([]) }).default({ mode: 'none', allow: [] }),
  /** The whole environment of the host (`inherit`), else only the names in `expose`; names in `deny` never. */
  env: z
    .strictObject({
      inherit: z.boolean().default(false),
      expose: list(variableName).default([]),
      deny: list(variableName).default([]),
    })
    .default({ inherit: false, expose: [], deny: [] }),
  hostInstructions: list(z.string().max(4096)).default([]),
  metadata: z.record(z.string(), z.unknown()).optional(),
});
export type SandboxProfile = z.output<typeof sandboxProfile>;
