import { ScheduleAlreadyRunning, ScheduleOverlapPolicy, type Client } from '@temporalio/client';
import type { Logger } from 'pino';
import { CONTROL_TASK_QUEUE } from '../contracts/names';
import { FLEET_SWEEP_SCHEDULE, FLEET_SWEEP_WORKFLOW } from '../contracts/workflow';

const CALL_DEADLINE_MS = 10_000;

/**
 * Makes the Schedule that looks after the fleet when no timer does, and that shows it in the Web UI. One that is there is left as it
 * is: whoever runs Temporal may have paused it or changed its times. Without it the timers do the work.
 */
export async function ensureFleetSchedule(client: Client, logger: Logger): Promise<void> {
  try {
    await client.connection.withDeadline(Date.now() + CALL_DEADLINE_MS, () =>
      client.schedule.create({
        scheduleId: FLEET_SWEEP_SCHEDULE,
        spec: { intervals: [{ every: '5 minutes' }] },
        action: {
          type: 'startWorkflow',
          workflowType: FLEET_SWEEP_WORKFLOW,
          workflowId: FLEET_SWEEP_SCHEDULE,
          taskQueue: CONTROL_TASK_QUEUE,
          workflowExecutionTimeout: '4 minutes',
        },
        policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: '1 minute' },
      }),
    );
    logger.info({ schedule: FLEET_SWEEP_SCHEDULE }, 'the schedule that looks after the fleet was made');
  } catch (error) {
    if (error instanceof ScheduleAlreadyRunning) return;
    const why = error instanceof Error ? error.name : 'unknown';
    logger.warn({ error: why }, 'the schedule that looks after the fleet cannot be made; timers do its work');
  }
}
