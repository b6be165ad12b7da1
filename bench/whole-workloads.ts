import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { WorkflowNotFoundError } from '@temporalio/client';
import { workflowIdOf } from '../contracts/names';
import { HttpExchange } from '../executors/http-exchange';
import type { BenchSystem } from './bench-system';
import { closedLoop, median, round, sampleOf, type Sample } from './measure';

const http = new HttpExchange();

export interface WholeSettings {
  rounds: number;
  size: number;
  inFlight: number;
}

export interface WholeResult {
  report: string;
  workloadsPerSecond: number;
  barePerSecond: number;
  throughputRatio: number;
  workload: Sample;
  bare: Sample;
  addedP50: number;
}

/** Posts one event. Fails when it is not accepted. */
export async function post(system: BenchSystem, eventId: string): Promise<string> {
  const { status, text } = await http.send({
    url: `${system.api}/api/events`,
    method: 'POST',
    headers: { authorization: `Bearer ${system.token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ source: 'bench', action: 'work', event_id: eventId, data: { n: 1 } }),
    timeoutMs: 30_000,
  });
  if (status !== 202) throw new Error(`the event was answered ${status} ${text}`);
  return (JSON.parse(text) as { workload_id: string }).workload_id;
}

/** Posts an event, waits for its workload's end and returns its id. Fails when it did not complete. */
export async function wholeWorkload(system: BenchSystem): Promise<string> {
  const id = await post(system, randomUUID());
  const handle = system.temporal.workflow.getHandle(workflowIdOf(id));
  for (;;) {
    try {
      const summary = (await handle.result()) as { state: string };
      if (summary.state !== 'completed') throw new Error(`a workload ended ${summary.state}`);
      return id;
    } catch (error) {
      if (!(error instanceof WorkflowNotFoundError)) throw error;
      await sleep(10);
    }
  }
}

async function bareWorkflow(system: BenchSystem): Promise<void> {
  await system.temporal.workflow.execute('bare', { taskQueue: 'bare', workflowId: `bare/${randomUUID()}` });
}

/** Interleaves rounds of whole workloads and of bare workflows: first for throughput, then one at a time for latency. */
export async function compareWholeWorkloads(
  system: BenchSystem,
  { rounds, size, inFlight }: WholeSettings,
  log: (text: string) => void,
): Promise<WholeResult> {
  const whole = async (): Promise<void> => void (await wholeWorkload(system));
  const bare = (): Promise<void> => bareWorkflow(system);
  log('warming up');
  await closedLoop(inFlight, inFlight, whole);
  await closedLoop(inFlight, inFlight, bare);

  const rates = { whole: [] as number[], bare: [] as number[] };
  const latencies = { whole: [] as number[], bare: [] as number[] };
  for (let index = 1; index <= rounds; index += 1) {
    const perSecond = async (task: () => Promise<void>): Promise<number> =>
      (size * 1000) / (await closedLoop(size, inFlight, task)).elapsed;
    rates.bare.push(await perSecond(bare));
    rates.whole.push(await perSecond(whole));
    const alone = Math.ceil(size / 4);
    latencies.bare.push(...(await closedLoop(alone, 1, bare)).durations);
    latencies.whole.push(...(await closedLoop(alone, 1, whole)).durations);
    log(`round ${index} of ${rounds}: ${round(rates.whole.at(-1)!)} workloads/s, ${round(rates.bare.at(-1)!)} bare/s`);
  }
  return summary(rates, latencies);
}

function summary(
  rates: { whole: number[]; bare: number[] },
  latencies: { whole: number[]; bare: number[] },
): WholeResult {
  const workload = sampleOf(latencies.whole);
  const bare = sampleOf(latencies.bare);
  const workloadsPerSecond = median(rates.whole);
  const barePerSecond = median(rates.bare);
  const throughputRatio = round(workloadsPerSecond / barePerSecond);
  const addedP50 = round(workload.p50 - bare.p50);
  const report = [
    `throughput   ${workloadsPerSecond}/s whole workloads, ${barePerSecond}/s bare workflows: ratio ${throughputRatio} (goal 0.85)`,
    `latency p50  ${workload.p50} ms whole, ${bare.p50} ms bare: ${addedP50} ms added (goal 15), ratio ${round(workload.p50 / bare.p50)}`,
    `latency p99  ${workload.p99} ms whole, ${bare.p99} ms bare`,
  ].join('\n');
  return { report, workloadsPerSecond, barePerSecond, throughputRatio, workload, bare, addedP50 };
}
