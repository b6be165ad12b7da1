import { WorkflowNotFoundError, type Client } from '@temporalio/client';
import { workflowIdOf } from '../contracts/names';
import { SEARCH_ATTRIBUTE_KEYS } from '../contracts/search-attributes';
import type { WorkloadState } from '../contracts/terminology';
import { WORKLOAD_WORKFLOW, type WorkloadSummary } from '../contracts/workflow';
import type { Report } from '../domain/finding';
import type { Queryable } from '../ledger/database';
import { openWorkloadsAfter, workloadsByIds, type ExpectedRun } from '../ledger/verify/runs';

interface VerifyTemporalOptions {
  db: Queryable;
  client: Client;
  report: Report;
  progress: (runs: number) => void;
  /** What changed within this time may still be on its way, seconds. Default 60. */
  quietSeconds?: number;
}

const BATCH = 200;
const AT_ONCE = 10;
const CALL_DEADLINE_MS = 10_000;
const QUIET_SECONDS = 60;

/** A run as the server lists it. */
interface Run {
  workloadId: string;
  runId: string;
  running: boolean;
  completed: boolean;
  state: string | undefined;
}

/**
 * Compares the ledger with Temporal: every open workload needs a run; a run needs an open workload; a run that completed says
 * what became of its workload. `db` must be read anew with each statement, since both sides move. Returns the number of runs.
 */
export async function verifyTemporal(options: VerifyTemporalOptions): Promise<number> {
  await openOnesHaveRuns(options);
  return runsHaveTheirWorkloads(options);
}

async function openOnesHaveRuns({
  db,
  client,
  report,
  quietSeconds = QUIET_SECONDS,
}: VerifyTemporalOptions): Promise<void> {
  for (let after = ''; ;) {
    const open = await openWorkloadsAfter(db, after, quietSeconds, BATCH);
    await inLanes(open, async ({ workload_id, state, settled }) => {
      if (!settled || (await isRunning(client, workload_id))) return;
      report({ code: 'temporal.run_missing', message: `it is ${state}, and Temporal has no run of it`, workload_id });
    });
    if (open.length < BATCH) return;
    after = open.at(-1)!.workload_id;
  }
}

async function isRunning(client: Client, workloadId: string): Promise<boolean> {
  try {
    const handle = client.workflow.getHandle(workflowIdOf(workloadId));
    const run = await client.connection.withDeadline(Date.now() + CALL_DEADLINE_MS, () => handle.describe());
    return run.status.name === 'RUNNING' || run.status.name === 'CONTINUED_AS_NEW';
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return false;
    throw error;
  }
}

async function runsHaveTheirWorkloads({
  db,
  client,
  report,
  progress,
  quietSeconds = QUIET_SECONDS,
}: VerifyTemporalOptions): Promise<number> {
  let count = 0;
  // Several runs of one workload are listed newest first; the newest counts.
  const newest = new Map<string, Run>();
  const check = async (): Promise<void> => {
    const runs = [...newest.values()];
    newest.clear();
    const known = new Map(
      (
        await workloadsByIds(
          db,
          runs.map((run) => run.workloadId),
          quietSeconds,
        )
      ).map((row) => [row.workload_id, row]),
    );
    await inLanes(runs, (run) => compare(client, run, known.get(run.workloadId), report));
    count += runs.length;
    progress(runs.length);
  };
  for await (const each of client.workflow.list({ query: `WorkflowType = '${WORKLOAD_WORKFLOW}'` })) {
    const workloadId = each.workflowId.replace(/^workload\//, '');
    if (newest.has(workloadId)) continue;
    newest.set(workloadId, {
      workloadId,
      runId: each.runId,
      running: each.status.name === 'RUNNING',
      completed: each.status.name === 'COMPLETED',
      state: each.typedSearchAttributes.get(SEARCH_ATTRIBUTE_KEYS.state),
    });
    if (newest.size >= BATCH) await check();
  }
  await check();
  return count;
}

async function compare(client: Client, run: Run, row: ExpectedRun | undefined, report: Report): Promise<void> {
  const { workloadId: workload_id } = run;
  if (!row) {
    if (run.running)
      report({
        code: 'temporal.unknown_workload',
        message: 'Temporal has a run of it, and the ledger does not know it',
        workload_id,
      });
    return;
  }
  if (!row.settled) return;
  if (run.running && row.closed) {
    // The list is some seconds old.
    if (await isRunning(client, workload_id))
      report({
        code: 'temporal.run_open_after_end',
        message: `it has ended (${row.state}), and its run goes on`,
        workload_id,
      });
    return;
  }
  if (!run.completed || !row.closed || run.state === row.state) return;
  const said = await resultOf(client, run);
  if (said !== null && said !== row.state)
    report({
      code: 'temporal.result_mismatch',
      message: `its last run ended with ${said}, and the ledger has ${row.state}`,
      workload_id,
    });
}

/** The state a run ended with; null when it is not the newest, or has none. */
async function resultOf(client: Client, { workloadId }: Run): Promise<WorkloadState | null> {
  const handle = client.workflow.getHandle(workflowIdOf(workloadId));
  const newest = await handle.describe();
  if (newest.status.name !== 'COMPLETED') return null;
  return ((await handle.result()) as WorkloadSummary).state;
}

async function inLanes<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const lane = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}
