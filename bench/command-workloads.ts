import { randomUUID } from 'node:crypto';
import { workflowIdOf } from '../contracts/names';
import { startBench, type BenchSystem } from './bench-system';
import { interleaved, median } from './measure';
import { countRoundTrips, ROUND_TRIP_SETTINGS } from './round-trips';
import { AT_ONCE, type AloneAndTogether } from './spawn-overhead';
import { wholeWorkload } from './whole-workloads';

/** What one run leaves in Temporal's history. */
export interface HistoryCounts {
  events: number;
  activities: number;
  localActivities: number;
}

/** What one workload that runs a command costs, beside one bare workflow. */
export interface CommandCosts {
  ours: HistoryCounts;
  bare: HistoryCounts;
  /** Of one workload, and of each of those that were counted. */
  roundTrips: number;
  roundTripsCounted: number[];
}

const COUNTED = 9;

/**
 * A whole workload whose rule runs `true` on the node backend (accept, policy, claim, intent, run, output, finish, settle) beside a bare
 * Temporal workflow with one activity that spawns `true`, on the same server, interleaved.
 */
export async function compareCommandWorkloads(
  settings: { rounds: number; inMemory: boolean },
  log: (text: string) => void,
): Promise<AloneAndTogether & { costs: CommandCosts }> {
  const { rounds, inMemory } = settings;
  const system = await startBench({ inMemory, executor: 'node', postgresSettings: ROUND_TRIP_SETTINGS, log });
  try {
    const pair = { bare: () => bareCommand(system), ours: () => wholeWorkload(system) };
    log('whole workloads that run true');
    const alone = await interleaved(pair, { rounds, perRound: 20, warmUp: AT_ONCE, inFlight: 1 });
    const together = await interleaved(pair, { rounds, perRound: 50, warmUp: AT_ONCE, inFlight: AT_ONCE });
    log('counting');
    return { alone, together, costs: await costsOf(system) };
  } finally {
    await system.stop();
  }
}

async function bareCommand(system: BenchSystem): Promise<string> {
  const workflowId = `bare/${randomUUID()}`;
  await system.temporal.workflow.execute('bareCommand', { taskQueue: 'bare', workflowId });
  return workflowId;
}

async function costsOf(system: BenchSystem): Promise<CommandCosts> {
  const ours = await historyCounts(system, workflowIdOf(await wholeWorkload(system)));
  const bare = await historyCounts(system, await bareCommand(system));
  const roundTripsCounted = await countRoundTrips(system.postgres, COUNTED, () => wholeWorkload(system));
  return { ours, bare, roundTrips: median(roundTripsCounted), roundTripsCounted };
}

async function historyCounts(system: BenchSystem, workflowId: string): Promise<HistoryCounts> {
  const { events } = await system.temporal.workflow.getHandle(workflowId).fetchHistory();
  const all = events ?? [];
  return {
    events: all.length,
    activities: all.filter((event) => event.activityTaskScheduledEventAttributes).length,
    localActivities: all.filter((event) => event.markerRecordedEventAttributes?.markerName === 'core_local_activity')
      .length,
  };
}
