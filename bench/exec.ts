import { compareCommandWorkloads, type CommandCosts, type HistoryCounts } from './command-workloads';
import { pairLine } from './measure';
import { compareOutputMemory, type MemoryGrowth } from './output-memory';
import { compareSpawn, type AloneAndTogether } from './spawn-overhead';

export interface ExecResult {
  report: string;
  spawn: AloneAndTogether;
  whole: AloneAndTogether & { costs: CommandCosts };
  memory: MemoryGrowth[];
}

/** What running a command costs: in process, as a whole workload, and in memory. */
export async function compareExec(
  settings: { rounds: number; inMemory: boolean },
  log: (text: string) => void,
): Promise<ExecResult> {
  log('spawning true');
  const spawn = await compareSpawn(settings.rounds);
  const memory = await compareOutputMemory(log);
  const whole = await compareCommandWorkloads(settings, log);
  return { report: reportOf({ spawn, whole, memory }), spawn, whole, memory };
}

function reportOf({ spawn, whole, memory }: Omit<ExecResult, 'report'>): string {
  const inProcess = { ours: 'node backend', bare: 'bare spawn' };
  const service = { ours: 'whole workload', bare: 'bare activity' };
  const { ours, bare, roundTrips, roundTripsCounted } = whole.costs;
  return [
    pairLine('true, one at a time', inProcess, spawn.alone),
    pairLine('true, ten at once  ', inProcess, spawn.together),
    pairLine('workloads, one at a time', service, whole.alone),
    pairLine('workloads, ten at once  ', service, whole.together),
    `a whole workload  ${costLine(ours)}, ${roundTrips} database round trips (counted: ${roundTripsCounted.join(' ')})`,
    `a bare workflow   ${costLine(bare)}`,
    ...memory.map(
      ({ reader, outputMiB, growthMiB }) =>
        `${String(outputMiB).padStart(2)} MiB of output  ${reader}: peak memory grows by ${growthMiB} MiB`,
    ),
  ].join('\n');
}

const costLine = ({ events, activities, localActivities }: HistoryCounts): string =>
  `${events} history events, ${activities} activities, ${localActivities} local activities`;
