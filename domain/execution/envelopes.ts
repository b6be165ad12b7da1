import {
  EXECUTION_SCHEMA_VERSION,
  SANDBOX_DIMENSIONS,
  type BackendKind,
  type BackendLocality,
  type ExecutionEnvelope,
  type ExecutionHandle,
  type ExecutionRequest,
  type ExecutionStatus,
  type RefusalCode,
  type SandboxAttestation,
  type SandboxDimension,
  type SandboxSupport,
} from '../../contracts/execution';
import type { SandboxProfile } from '../../contracts/sandbox-profile';
import { exitEvidence, refusalEvidence } from './evidence';

/** What of a backend an envelope tells. */
export interface EnvelopeBackend {
  id: string;
  kind: BackendKind;
  locality: BackendLocality;
  support: Record<SandboxDimension, SandboxSupport>;
}

const ENFORCED_BY_SERVICE = [
  'profile validation',
  'path normalization',
  'worker result acceptance against sandbox write policy',
  'durable ErrorFeedback for denied worker output',
];
const LEFT_TO_HOST = [
  'OS-level read isolation',
  'OS-level write isolation before result acceptance',
  'process execution restrictions',
  'network restrictions',
  'environment variable filtering',
];

/** The dimensions that a profile restricts. */
function requiredDimensions({ execute, network, env }: SandboxProfile): SandboxDimension[] {
  const asked: Record<SandboxDimension, boolean> = {
    read: true,
    write: true,
    command: execute.mode !== 'any',
    network: network.mode !== 'any',
    env: !env.inherit,
  };
  return SANDBOX_DIMENSIONS.filter((dimension) => asked[dimension]);
}

/** The dimensions that a profile restricts and a backend cannot. */
export const unenforceable = (backend: EnvelopeBackend, profile: SandboxProfile): SandboxDimension[] =>
  requiredDimensions(profile).filter((dimension) => backend.support[dimension] === 'unsupported');

interface Ended {
  exitCode: number | null;
  stdoutDigest: string;
  why?: string;
  notes?: string[];
}

/** Builds the envelope of one run. */
export class Envelopes {
  /** What the run was pointed at, as far as it is known. */
  handle: ExecutionHandle | undefined;

  constructor(
    private readonly backend: EnvelopeBackend,
    private readonly profile: SandboxProfile,
    private readonly request: ExecutionRequest,
  ) {}

  /** The command ran. */
  exited({ exitCode, stdoutDigest, why, notes = [] }: Ended): ExecutionEnvelope {
    const { command = '', args = [] } = this.request;
    const status = exitCode === 0 && why === undefined ? 'completed' : 'failed';
    const evidence = exitEvidence({ command, args, exitCode, stdoutDigest });
    const end = why ?? `exit ${exitCode === null ? 'null' : exitCode}`;
    return this.envelope(status, `${this.label}: ${status} (${end})`, evidence, notes, false);
  }

  /** The command did not run or, with `unknown`, may have. */
  refused(
    code: RefusalCode,
    reason: string,
    { unknown = false, notes = [] }: { unknown?: boolean; notes?: string[] } = {},
  ): ExecutionEnvelope {
    const evidence = refusalEvidence(code, this.backend.id, this.profile.id);
    const summary = `${this.label}: refused (${code}) — ${reason}`;
    return this.envelope('refused', summary, evidence, [...notes, `refused: ${code}`], unknown);
  }

  private get label(): string {
    return this.request.label || this.request.command || `${this.backend.id}-execution`;
  }

  private envelope(
    status: ExecutionStatus,
    summary: string,
    evidence: string[],
    notes: string[],
    outcomeUnknown: boolean,
  ): ExecutionEnvelope {
    const { id: backendId, kind, locality } = this.backend;
    const { command, args = [] } = this.request;
    return {
      schemaVersion: EXECUTION_SCHEMA_VERSION,
      status,
      result: { summary, findings: [], evidence },
      evidence,
      provenance: {
        schemaVersion: EXECUTION_SCHEMA_VERSION,
        backendId,
        locality,
        kind,
        attestation: this.attestation(status, notes),
        ...(this.handle ? { handle: this.handle } : {}),
        ...(outcomeUnknown ? { outcomeUnknown } : {}),
        ...(command === undefined ? {} : { argvJson: JSON.stringify([command, ...args]) }),
      },
    };
  }

  private attestation(status: ExecutionStatus, notes: string[]): SandboxAttestation {
    const { id: backendId, kind, locality, support } = this.backend;
    const required = requiredDimensions(this.profile);
    const held = (how: SandboxSupport): SandboxDimension[] =>
      required.filter((dimension) => support[dimension] === how);
    const enforced = held('enforce');
    return {
      schemaVersion: EXECUTION_SCHEMA_VERSION,
      backendId,
      locality,
      kind,
      sandboxProfileId: this.profile.id,
      required,
      enforced,
      attested: held('attest'),
      unenforceable: held('unsupported'),
      status: status === 'refused' ? 'refused' : enforced.length > 0 ? 'enforced' : 'attested',
      enforcedByCW: ENFORCED_BY_SERVICE,
      hostRequired: LEFT_TO_HOST,
      recordedAt: new Date().toISOString(),
      ...(this.handle ? { handle: this.handle } : {}),
      ...(notes.length > 0 ? { notes } : {}),
    };
  }
}
