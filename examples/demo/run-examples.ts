import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkloadRecord, WorkloadSummaryRecord } from '../../contracts/workload-record';
import type { ApiClient } from './api-client';
import type { ExampleEvent, OperatorStep } from './example-event';
import { differences } from './verdict';

const POLL_MS = 150;
const DECISION_WITHIN_S = 20;

/** One example on its way. */
export interface Run {
  example: ExampleEvent;
  workloadId: string | null;
  /** As listed last. */
  workload: WorkloadSummaryRecord | null;
  /** Wrong already when it was posted. */
  problems: string[];
}

/** One example at its end. */
export interface Result {
  example: ExampleEvent;
  /** Null when it was never posted. */
  record: WorkloadRecord | null;
  /** What is not as the example says. */
  problems: string[];
}

export interface RunOptions {
  api: ApiClient;
  restartOpenCrow: () => void;
  /** Called after each look at the workloads. */
  onLook: (runs: readonly Run[]) => void;
  /** Told what the operator of the demo does. */
  onNote: (text: string) => void;
  timeoutMs: number;
  signal: AbortSignal;
}

/** Posts the examples one after the other, plays the operator, and resolves when all have ended or the time is over. */
export async function runExamples(examples: readonly ExampleEvent[], options: RunOptions): Promise<Result[]> {
  const runs = examples.map((example): Run => ({ example, workloadId: null, workload: null, problems: [] }));
  const done = new AbortController();
  const signal = AbortSignal.any([options.signal, done.signal]);
  const posting = postAll(runs, options, signal);
  try {
    await Promise.all([posting, watch(runs, options, posting, signal)]);
  } finally {
    done.abort();
  }
  options.signal.throwIfAborted();
  return Promise.all(runs.map((run) => resultOf(run, options.api)));
}

/** Waits for each decision, so that of two events with one dedupe key the first is the first. */
async function postAll(runs: readonly Run[], { api }: RunOptions, signal: AbortSignal): Promise<void> {
  for (const run of runs) {
    if (signal.aborted) return;
    const { event, posts } = run.example;
    const first = await api.post(event, DECISION_WITHIN_S);
    run.workloadId = first.workload_id;
    if (first.duplicate) run.problems.push('was posted before');
    for (let again = 1; again < posts; again += 1) {
      const answer = await api.post(event, 0);
      if (!answer.duplicate || answer.workload_id !== first.workload_id)
        run.problems.push('a repeat was not seen as one');
    }
  }
}

async function watch(
  runs: readonly Run[],
  options: RunOptions,
  posting: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const waiting = new Set(runs.filter(({ example }) => example.operator));
  let posted = false;
  void posting.then(
    () => (posted = true),
    () => undefined,
  );
  const giveUpAt = Date.now() + options.timeoutMs;
  while (!signal.aborted && Date.now() < giveUpAt) {
    const workloads = new Map((await options.api.list()).map((workload) => [workload.workload_id, workload]));
    for (const run of runs) run.workload = (run.workloadId && workloads.get(run.workloadId)) || run.workload;
    options.onLook(runs);
    for (const run of waiting) {
      const step = run.example.operator!;
      if (run.workload?.state !== step.when) continue;
      waiting.delete(run);
      await operate(run, step, options);
    }
    if (posted && runs.every(({ workload }) => workload?.closed)) return;
    await sleep(POLL_MS);
  }
}

async function operate(run: Run, step: OperatorStep, { api, restartOpenCrow, onNote }: RunOptions): Promise<void> {
  if (step.do === 'restart-opencrow') {
    onNote(`operator: kills OpenCrow, since ${run.example.name} is ${step.when}`);
    return restartOpenCrow();
  }
  const { do: action, when: _when, ...order } = step;
  onNote(`operator: ${action} ${run.example.name}: ${order.reason}`);
  await api.act(run.workloadId!, action, order).catch((error: unknown) => run.problems.push((error as Error).message));
}

async function resultOf({ example, workloadId, problems }: Run, api: ApiClient): Promise<Result> {
  if (workloadId === null) return { example, record: null, problems: ['was not posted'] };
  const record = await api.record(workloadId);
  return { example, record, problems: [...problems, ...differences(example.expect, record)] };
}
