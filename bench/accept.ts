import { randomUUID } from 'node:crypto';
import type { BenchSystem } from './bench-system';
import { closedLoop, round, sampleOf, type Sample } from './measure';
import { post } from './whole-workloads';

export interface AcceptResult {
  report: string;
  accept: Sample;
  duplicatesPerSecond: number;
}

const COUNT = 200;
const DUPLICATES = 2_000;

/** Times `POST /api/events` alone, one at a time, and the rate at which a known event is answered. */
export async function compareAccept(system: BenchSystem, log: (text: string) => void): Promise<AcceptResult> {
  log('accepting events');
  const accept = sampleOf((await closedLoop(COUNT, 1, async () => void (await post(system, randomUUID())))).durations);
  const known = randomUUID();
  await post(system, known);
  log('repeating one event');
  const { elapsed } = await closedLoop(DUPLICATES, 20, async () => void (await post(system, known)));
  const duplicatesPerSecond = round((DUPLICATES * 1000) / elapsed);
  const report = [
    `accept       p50 ${accept.p50} ms, p99 ${accept.p99} ms while their workloads run (goal p50 10 ms)`,
    `duplicates   ${duplicatesPerSecond}/s answered`,
  ].join('\n');
  return { report, accept, duplicatesPerSecond };
}
