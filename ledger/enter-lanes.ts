import type { Decision, Gate } from '../contracts/terminology';
import { lanesAgain, laneSpecs, type LaneSpec } from '../domain/lane-specs';
import type { Evaluation } from '../domain/policy/evaluate';
import { NO_ROOM } from '../domain/policy/recorded-decision';
import { forgetAbsorbed, noteAbsorbed } from './absorbed';
import type { Queryable } from './database';
import { isFree, isFull, lockLane, occupantOf, takePlaces } from './lanes';
import { bypassesDedupe } from './replays';
import { lockWorkload, type WorkloadRow } from './workload-row';

/** What the lanes made of a decision to do the work. */
export interface Entered {
  decision: Decision;
  reason: string;
  /** The workload that stands for this one now. */
  absorbedBy: string | null;
  /** Null when the rule limits nothing, or the work is not done. */
  lanes: LaneSpec[] | null;
  gate: Gate | null;
}

/** The lanes that an evaluation leads a workload through, locked. Without limits it costs nothing. */
export async function lockLanesOf(tx: Queryable, row: WorkloadRow, evaluation: Evaluation): Promise<LaneSpec[]> {
  const { decision, rule } = evaluation;
  if (!rule || (decision !== 'dispatch' && decision !== 'hold')) return [];
  const specs = laneSpecs(row.tenant_id, rule, evaluation);
  for (const { lane } of specs) await lockLane(tx, lane);
  return specs;
}

/**
 * Brings a workload into its lanes, which are locked, in the order of admission: it passes those that are free, waits at the
 * first that is not, or is absorbed by one that waits already.
 */
export async function enterLanes(
  tx: Queryable,
  row: WorkloadRow,
  { decision, reason }: Evaluation,
  locked: readonly LaneSpec[],
): Promise<Entered> {
  const entered: Entered = { decision, reason, absorbedBy: null, lanes: null, gate: null };
  const specs = await withoutBypassed(tx, row, decision, locked);
  if (specs.length === 0) return entered;
  for (const spec of specs) {
    const follower = spec.mode === 'coalesce' ? await joinFollower(tx, row, spec, decision) : null;
    if (follower) return { ...entered, decision: 'duplicate', reason: 'coalesced', absorbedBy: follower };
    if (await isFull(tx, spec.lane)) return { ...entered, decision: 'deny', reason: NO_ROOM };
  }
  return { ...entered, lanes: [...specs], gate: await placeIn(tx, row, specs, decision === 'hold') };
}

/**
 * A replay that may pass by whoever has its dedupe key does without a place in that lane; also when it is not approved yet,
 * since nobody knows who will have the key then.
 */
async function withoutBypassed(
  tx: Queryable,
  row: WorkloadRow,
  decision: Decision,
  specs: readonly LaneSpec[],
): Promise<readonly LaneSpec[]> {
  const key = specs.find(({ gate }) => gate === 'key');
  if (!key) return specs;
  const holder = await occupantOf(tx, key.lane);
  if (holder === null && decision !== 'hold') return specs;
  if (!(await bypassesDedupe(tx, row, holder))) return specs;
  return specs.filter((spec) => spec !== key);
}

/** Locks the lanes of a workload that may come into them again: lanes are locked before workloads. */
export async function lockLanesAgain(tx: Queryable, workloadId: string): Promise<void> {
  const [row] = await tx.query<Pick<WorkloadRow, 'lanes'>>('SELECT lanes FROM workloads WHERE workload_id = $1', [
    workloadId,
  ]);
  for (const { lane } of lanesAgain(row?.lanes ?? [])) await lockLane(tx, lane);
}

/**
 * Brings a workload that is handed over once more into its lanes again, at their end; one that is lost and still has its
 * places keeps them. Returns the gate where it waits.
 */
export async function reenterLanes(tx: Queryable, row: WorkloadRow): Promise<Gate | null> {
  await forgetAbsorbed(tx, row.workload_id);
  const specs = lanesAgain(row.lanes ?? []);
  if (specs.length === 0) return null;
  const kept = await tx.query<{ gate: Gate }>(
    `SELECT gate FROM lane_places WHERE workload_id = $1 AND state = 'open' AND gate <> 'rate'`,
    [row.workload_id],
  );
  const counted = specs.filter(({ gate }) => gate !== 'rate');
  if (!row.closed && counted.every((spec) => kept.some(({ gate }) => gate === spec.gate))) return null;
  await tx.query(
    `UPDATE lane_places SET state = 'left', look_at = clock_timestamp()
     WHERE workload_id = $1 AND NOT (gate = 'rate' AND state = 'open')`,
    [row.workload_id],
  );
  return placeIn(tx, row, specs, false);
}

async function placeIn(
  tx: Queryable,
  row: WorkloadRow,
  specs: readonly LaneSpec[],
  held: boolean,
): Promise<Gate | null> {
  let passed = 0;
  while (!held && passed < specs.length && (await isFree(tx, specs[passed]!))) passed += 1;
  await takePlaces(tx, row.tenant_id, row.workload_id, specs, passed, held);
  return specs[passed]?.gate ?? null;
}

/**
 * Lets an event be covered by the one that waits for its turn with the same key. What needs an approval is covered only by
 * what is not approved yet, and the other way round: nothing may run without its approval, nor wait for another one's.
 */
async function joinFollower(
  tx: Queryable,
  row: WorkloadRow,
  spec: LaneSpec,
  decision: Decision,
): Promise<string | null> {
  const state = decision === 'hold' ? 'held' : 'waiting';
  const [found] = await tx.query<{ workload_id: string }>(
    `SELECT workload_id FROM lane_places WHERE lane = $1 AND state = $2 AND mode = 'coalesce' ORDER BY seq DESC LIMIT 1`,
    [Buffer.from(spec.lane, 'hex'), state],
  );
  if (!found) return null;
  const follower = await lockWorkload(tx, found.workload_id);
  if (follower?.waiting_for !== 'key' || follower.state !== (state === 'held' ? 'held' : 'queued')) return null;
  if (follower.deadline_at !== null && follower.deadline_at <= follower.now) return null;
  await noteAbsorbed(tx, row.workload_id, found.workload_id, 'coalesced');
  return found.workload_id;
}
