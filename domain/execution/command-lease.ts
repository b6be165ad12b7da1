import type { ExecutionHandle } from '../../contracts/execution';
import type { ExecutorKind } from '../../contracts/terminology';

/** Life of a command's lease without a renewal, milliseconds. */
export const COMMAND_LEASE_MS = 30_000;

/** How long a command that was cancelled keeps its worker's slot when its end is not reported, milliseconds. */
export const CANCELLED_SLOT_MS = 60_000;

/** The job a runner made of a command; null while it is not known. */
export function runnerJobOf(target: ExecutionHandle | null): string | null {
  const job = target?.metadata?.['runnerJobId'];
  return typeof job === 'string' && job !== '' ? job : null;
}

/**
 * A command whose worker is gone goes on all the same, and another worker may wait for its end: a runner has it, and its job is
 * known.
 */
export const isResumable = (executor: ExecutorKind | null, target: ExecutionHandle | null): boolean =>
  (executor === 'remote' || executor === 'ci') && runnerJobOf(target) !== null;
