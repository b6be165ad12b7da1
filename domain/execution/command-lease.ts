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

/** A runner does the work: it goes on without the worker, and can call when it is done. */
export const hasRunner = (executor: ExecutorKind | null): boolean => executor === 'remote' || executor === 'ci';

/**
 * A command whose worker is gone goes on all the same, and another worker may wait for its end: a runner has it, and its job is
 * known.
 */
export const isResumable = (executor: ExecutorKind | null, target: ExecutionHandle | null): boolean =>
  hasRunner(executor) && runnerJobOf(target) !== null;
