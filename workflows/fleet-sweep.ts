import { proxyLocalActivities } from '@temporalio/workflow';
import type { ControlActivities } from '../contracts/workflow';

const { sweepFleet } = proxyLocalActivities<Pick<ControlActivities, 'sweepFleet'>>({
  startToCloseTimeout: '30 seconds',
  retry: { maximumAttempts: 2, initialInterval: '1 second' },
});

/** Looks after the fleet once; started by a Schedule. Returns how much was changed. */
export async function fleetSweep(): Promise<number> {
  return sweepFleet();
}
