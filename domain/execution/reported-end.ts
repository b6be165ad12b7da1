import { createHash } from 'node:crypto';
import { REFUSAL_CODES, type ExecutionEnvelope } from '../../contracts/execution';
import type { ProblemItem } from '../../contracts/problems';
import type { RunSpec } from '../../contracts/run';
import type { ExecutorKind } from '../../contracts/terminology';
import type { FinishRequest } from '../../contracts/worker-protocol';
import type { ExecutedOutcome } from '../workload-progress';
import { commandLine } from './evidence';

/** What a worker's report of a command's end comes to. */
export interface ReportedEnd {
  outcome: Exclude<ExecutedOutcome, 'aborted'>;
  /** Stable code of why. */
  reason: string;
}

/** The outcome that an envelope stands for. A command that was ended before its time, or may have run, is `lost` and never `failed`. */
export function reportedEnd({ envelope, interrupted }: Pick<FinishRequest, 'envelope' | 'interrupted'>): ReportedEnd {
  if (envelope.status === 'completed') return { outcome: 'completed', reason: 'command_completed' };
  if (interrupted !== undefined) return { outcome: 'lost', reason: interrupted };
  if (envelope.status === 'failed') return { outcome: 'failed', reason: 'command_failed' };
  if (envelope.provenance.outcomeUnknown) return { outcome: 'lost', reason: 'outcome_unknown' };
  return { outcome: 'refused', reason: envelope.evidence[0]!.slice('refused:'.length) };
}

/** The exit code among an envelope's evidence; null when there is none. */
export function exitCodeOf({ evidence }: Pick<ExecutionEnvelope, 'evidence'>): number | null {
  const match = /^exitCode:(-?\d+)$/.exec(evidence[1] ?? '');
  return match && Number(match[1]);
}

/** SHA-256 over the lines of evidence, joined by line breaks: what the audit keeps of them. Lower-case hex. */
export const evidenceDigest = ({ evidence }: Pick<ExecutionEnvelope, 'evidence'>): string =>
  createHash('sha256').update(evidence.join('\n')).digest('hex');

const EXIT_LINE = /^exitCode:(null|0|-?[1-9]\d{0,15})$/;
const STDOUT_LINE = /^stdoutSha256:sha256:[0-9a-f]{64}$/;
const REFUSAL_LINES = new Set<string>(REFUSAL_CODES.map((code) => `refused:${code}`));

/** Why an envelope cannot be about a run; empty when it can. Its wire form is checked already. */
export function envelopeFaults(
  envelope: ExecutionEnvelope,
  executor: ExecutorKind | null,
  run: Pick<RunSpec, 'command' | 'args' | 'sandbox'>,
): ProblemItem[] {
  const { status, result, evidence, provenance } = envelope;
  const { attestation } = provenance;
  const faults: ProblemItem[] = [];
  const expect = (holds: boolean, pointer: string, detail: string): void => {
    if (!holds) faults.push({ pointer: `/envelope${pointer}`, detail });
  };
  expect(provenance.backendId === executor, '/provenance/backendId', `must be ${executor}, which the rule names`);
  expect(attestation.backendId === executor, '/provenance/attestation/backendId', `must be ${executor}`);
  expect(
    attestation.sandboxProfileId === run.sandbox,
    '/provenance/attestation/sandboxProfileId',
    "must be the run's profile",
  );
  expect(sameLines(result.evidence, evidence), '/result/evidence', 'must equal the evidence beside it');
  const argv = JSON.stringify([run.command, ...run.args]);
  expect((provenance.argvJson ?? argv) === argv, '/provenance/argvJson', "must be the run's argument vector");
  expect(!(provenance.outcomeUnknown && status !== 'refused'), '/provenance/outcomeUnknown', 'goes with refused only');
  const lines = status === 'refused' ? refusalLines(executor, run.sandbox) : ranLines(run, status);
  expect(
    evidence.length === lines.length && lines.every((fits, index) => fits(evidence[index]!)),
    '/evidence',
    `must be the three lines of this run with the status ${status}`,
  );
  return faults;
}

type Line = (line: string) => boolean;

const ranLines = (run: Pick<RunSpec, 'command' | 'args'>, status: ExecutionEnvelope['status']): Line[] => [
  (line) => line === `command:${commandLine(run.command, run.args)}`,
  (line) => EXIT_LINE.test(line) && (line === 'exitCode:0') === (status === 'completed'),
  (line) => STDOUT_LINE.test(line),
];

const refusalLines = (executor: ExecutorKind | null, sandbox: string): Line[] => [
  (line) => REFUSAL_LINES.has(line),
  (line) => line === `backend:${executor}`,
  (line) => line === `sandbox:${sandbox}`,
];

const sameLines = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((line, index) => line === others[index]);
