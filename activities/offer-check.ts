import type { WorkflowExecutionDescription } from '@temporalio/client';
import { optionalTsToDate } from '@temporalio/common/lib/time';

/** The longest that a worker of ours is asked to leave work to others is half an hour. */
const LONGEST_DELAY_MS = 31 * 60_000;
const SCHEDULED = 1;

/**
 * Whether nobody can be getting a workload from its queue: it is not on it, or whoever took it has been silent about it for `patienceMs`, or
 * had it put off for longer than anybody of ours asks for. Whether somebody works on it, the ledger knows.
 */
export function isOffTheQueue({ raw }: Pick<WorkflowExecutionDescription, 'raw'>, patienceMs: number): boolean {
  const now = Date.now();
  const open = (raw.pendingActivities ?? []).filter(({ activityType }) =>
    /^(deliver|execute)$/.test(activityType?.name ?? ''),
  );
  return open.every(({ state, lastStartedTime, nextAttemptScheduleTime }) => {
    if (Number(state) === SCHEDULED)
      return (optionalTsToDate(nextAttemptScheduleTime)?.getTime() ?? 0) > now + LONGEST_DELAY_MS;
    return (optionalTsToDate(lastStartedTime)?.getTime() ?? 0) < now - patienceMs;
  });
}
