import type { ExecutionEnvelope, ExecutionStatus } from '../contracts/execution';

/** Exit codes of `workloadd exec`, by what became of the command. */
export const EXEC_EXIT: Readonly<Record<ExecutionStatus, number>> = { completed: 0, failed: 1, refused: 3 };

/** An envelope for reading. */
export function readableEnvelope({ status, result, evidence, provenance }: ExecutionEnvelope): string {
  const { backendId, attestation, handle, outcomeUnknown } = provenance;
  return [
    result.summary,
    ...evidence.map((line) => `  ${line}`),
    `status ${status}, backend ${backendId}${handle ? `, ${handle.ref}` : ''}, sandbox ${attestation.sandboxProfileId} (${attestation.status})`,
    ...(outcomeUnknown ? ['The command may have run: look at its target before you run it again.'] : []),
  ].join('\n');
}

/** Prints a line on stdout, to its last byte: pipes take text in parts, and the process ends right after this. */
export const printWhole = (text: string): Promise<void> =>
  new Promise((resolve) => process.stdout.write(`${text}\n`, () => resolve()));
