import { z } from 'zod';

/**
 * The execution envelope: what a run of a command on a backend leaves. Its spelling and nesting are those of Cool Workflow's
 * envelope, since other tools read it: the one place on the wire that is camelCase. `evidence` is canonical, the same bytes on
 * whichever backend a program ran; everything that differs between backends and runs stands in `provenance`.
 */

export const EXECUTION_SCHEMA_VERSION = 1;

/** What a sandbox can restrict. */
export const SANDBOX_DIMENSIONS = ['read', 'write', 'command', 'network', 'env'] as const;
export type SandboxDimension = (typeof SANDBOX_DIMENSIONS)[number];

/** Whether a backend itself holds a dimension (`enforce`), leaves it to the host and says so (`attest`), or cannot. */
export type SandboxSupport = 'enforce' | 'attest' | 'unsupported';

export type BackendLocality = 'local' | 'remote';
export type BackendKind = 'local' | 'delegating';

/**
 * `completed`: it ran and exited with 0. `failed`: it ran and did not. `refused`: it did not run, or nobody knows whether it did
 * (`provenance.outcomeUnknown`).
 */
export type ExecutionStatus = 'completed' | 'failed' | 'refused';

/** Why nothing was run. The first group is recorded behaviour of the original; the second is refused here before its gates. */
export const REFUSAL_CODES = [
  'sandbox-command-denied',
  'sandbox-unenforceable',
  'backend-not-ready',
  'no-command',
  'delegation-target-missing',
  'runtime-unavailable',
  'delegation-failed',
  'backend-not-runnable',
  'invalid-argument',
  'invalid-timeout',
  'invalid-image',
  'invalid-endpoint',
  'endpoint-not-allowed',
  'cwd-outside-workspace',
  'sandbox-env-denied',
  'sandbox-profile-not-found',
  'sandbox-profile-invalid',
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

/** The frozen result: no field is ever added. */
export interface ResultEnvelope {
  summary: string;
  findings: unknown[];
  evidence: string[];
}

/** What a delegating backend was pointed at. */
export interface ExecutionHandle {
  kind: 'container' | 'remote' | 'ci' | 'process';
  /** `image@digest`, `image`, `endpoint#jobId`, `endpoint` or `jobId`. */
  ref: string;
  image?: string;
  digest?: string;
  endpoint?: string;
  jobId?: string;
  metadata?: Record<string, unknown>;
}

/** What held the sandbox of a run. */
export interface SandboxAttestation {
  schemaVersion: 1;
  backendId: string;
  locality: BackendLocality;
  kind: BackendKind;
  sandboxProfileId: string;
  required: SandboxDimension[];
  enforced: SandboxDimension[];
  attested: SandboxDimension[];
  unenforceable: SandboxDimension[];
  status: 'enforced' | 'attested' | 'refused';
  enforcedByCW: string[];
  hostRequired: string[];
  /** RFC 3339. */
  recordedAt: string;
  handle?: ExecutionHandle;
  notes?: string[];
}

export interface ExecutionProvenance {
  schemaVersion: 1;
  backendId: string;
  locality: BackendLocality;
  kind: BackendKind;
  attestation: SandboxAttestation;
  handle?: ExecutionHandle;
  /** The command may have run: nothing may repeat it but an operator, or a rule that says it is `rerunnable`. */
  outcomeUnknown?: true;
  /** The argument vector without the ambiguity of the evidence's `command:` line: JSON text of an array of strings. */
  argvJson?: string;
}

export interface ExecutionEnvelope {
  schemaVersion: 1;
  status: ExecutionStatus;
  result: ResultEnvelope;
  /** Equal to `result.evidence`. */
  evidence: string[];
  provenance: ExecutionProvenance;
}

/** One command to run once. Nothing in it passes through a shell. */
export interface ExecutionRequest {
  /** Absent or empty: refused `no-command`. */
  command?: string | undefined;
  args?: readonly string[] | undefined;
  /** Absolute path it runs in. */
  cwd: string;
  /** Absolute path that `cwd` must lie in; default: `cwd` itself. */
  workspace?: string | undefined;
  /** Names of variables it gets, each one the sandbox profile exposes. Default: all that the profile exposes. */
  env?: readonly string[] | undefined;
  /** Shown in the summary. Default: the command. */
  label?: string | undefined;
  /** Milliseconds. Default: the backend's. */
  timeoutMs?: number | undefined;
  image?: string | undefined;
  digest?: string | undefined;
  endpoint?: string | undefined;
  jobId?: string | undefined;
}

const short = z.string().max(4096);
const dimensions = z.array(z.enum(SANDBOX_DIMENSIONS)).max(SANDBOX_DIMENSIONS.length);
const lines = z.array(z.string()).max(64);

/** {@link ExecutionHandle} as it is told by a worker. */
export const executionHandle = z.strictObject({
  kind: z.enum(['container', 'remote', 'ci', 'process']),
  ref: short,
  image: short.optional(),
  digest: short.optional(),
  endpoint: short.optional(),
  jobId: short.optional(),
  metadata: z.record(z.string().max(64), z.unknown()).optional(),
});

/** {@link ExecutionEnvelope} as it is told by a worker. */
export const executionEnvelope = z.strictObject({
  schemaVersion: z.literal(1),
  status: z.enum(['completed', 'failed', 'refused']),
  result: z.strictObject({ summary: z.string(), findings: z.array(z.unknown()).max(0), evidence: lines }),
  evidence: lines,
  provenance: z.strictObject({
    schemaVersion: z.literal(1),
    backendId: short,
    locality: z.enum(['local', 'remote']),
    kind: z.enum(['local', 'delegating']),
    attestation: z.strictObject({
      schemaVersion: z.literal(1),
      backendId: short,
      locality: z.enum(['local', 'remote']),
      kind: z.enum(['local', 'delegating']),
      sandboxProfileId: short,
      required: dimensions,
      enforced: dimensions,
      attested: dimensions,
      unenforceable: dimensions,
      status: z.enum(['enforced', 'attested', 'refused']),
      enforcedByCW: lines,
      hostRequired: lines,
      recordedAt: z.iso.datetime(),
      handle: executionHandle.optional(),
      notes: lines.optional(),
    }),
    handle: executionHandle.optional(),
    outcomeUnknown: z.literal(true).optional(),
    argvJson: z.string().optional(),
  }),
});
