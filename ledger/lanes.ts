import { MAX_WAITING } from '../contracts/flow-control';
import type { Gate } from '../contracts/terminology';
import { laneMoves, type Lane, type LanePlace } from '../domain/lane-moves';
import type { LaneSpec } from '../domain/lane-specs';
import type { Queryable } from './database';

/** A lane, by what its places say of it. */
export interface LaneRef {
  gate: Gate;
  /** Hex. */
  lane: string;
}

/** In line, as many as one look takes in. */
const LOOK_AT_ONCE = 100;
/** Let through and still counted, the newest; a rule's `max` is at most 1,000. */
const MOST_OPEN = 2_000;

/**
 * Keeps every other change of a lane's order out until the transaction ends. Lanes are locked before rows of workloads that
 * are in them, and of several lanes in the order of a workload's way.
 */
export async function lockLane(tx: Queryable, lane: string): Promise<void> {
  await tx.query("SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || ' lane ' || $1::text, 0))", [lane]);
}

interface PlaceRow {
  seq: string;
  workload_id: string;
  state: LanePlace['state'];
  mode: LanePlace['mode'];
  capacity: number;
  period_ms: string | null;
  max_wait_ms: string | null;
  entered_at: Date;
  burst_at: Date | null;
  opened_at: Date | null;
  now: Date;
}

const READ = `
SELECT *, clock_timestamp() AS now FROM (
  (SELECT * FROM lane_places WHERE lane = $1 AND state = 'open' ORDER BY seq DESC LIMIT $2)
  UNION ALL
  (SELECT * FROM lane_places WHERE lane = $1 AND state = 'waiting' ORDER BY seq LIMIT $3)
  UNION ALL
  (SELECT * FROM lane_places WHERE lane = $1 AND state = 'held' AND $4::boolean ORDER BY seq LIMIT $3)
  UNION ALL
  (SELECT * FROM lane_places WHERE lane = $1 AND state = 'waiting' AND mode = 'supersede' AND $4 ORDER BY seq DESC LIMIT 1)
) places ORDER BY seq`;

/** Reads a locked lane. Those not approved yet are of interest only where they may have to give way. */
export async function readLane(tx: Queryable, { gate, lane }: LaneRef): Promise<{ lane: Lane; now: number }> {
  const givesWay = gate === 'debounce' || gate === 'key';
  const rows = await tx.query<PlaceRow>(READ, [Buffer.from(lane, 'hex'), MOST_OPEN, LOOK_AT_ONCE + 1, givesWay]);
  const places = [...new Map(rows.map((row) => [row.seq, placeOf(row)])).values()];
  const inState = (state: LanePlace['state']): LanePlace[] => places.filter((place) => place.state === state);
  const [waiting, held] = [inState('waiting'), inState('held')];
  const [firstUnread, newest] = [held[LOOK_AT_ONCE], waiting.at(-1)];
  const moreHeld = firstUnread !== undefined && newest !== undefined && BigInt(firstUnread.seq) < BigInt(newest.seq);
  const line = places.filter(({ state }) => state !== 'open');
  return {
    lane: { gate, open: inState('open'), line, more: waiting.length > LOOK_AT_ONCE || moreHeld },
    now: (rows[0]?.now ?? new Date()).getTime(),
  };
}

const ms = (text: string | null): number | null => (text === null ? null : Number(text));

const placeOf = (row: PlaceRow): LanePlace => ({
  seq: row.seq,
  workloadId: row.workload_id,
  state: row.state,
  mode: row.mode,
  capacity: row.capacity,
  periodMs: ms(row.period_ms),
  maxWaitMs: ms(row.max_wait_ms),
  enteredAt: row.entered_at.getTime(),
  burstAt: row.burst_at?.getTime() ?? null,
  // A Date has no microseconds: rounded up, so that nothing starts too early.
  openedAt: row.opened_at === null ? null : row.opened_at.getTime() + 1,
});

/** Who was let through in a lane, or else is the first in line; null when it is empty. */
export async function occupantOf(tx: Queryable, lane: string): Promise<string | null> {
  const [first] = await tx.query<{ workload_id: string }>(
    `SELECT workload_id FROM (
       (SELECT 1 AS rank, workload_id FROM lane_places WHERE lane = $1 AND state = 'open' ORDER BY seq LIMIT 1)
       UNION ALL
       (SELECT 2, workload_id FROM lane_places WHERE lane = $1 AND state = 'waiting' ORDER BY seq LIMIT 1)
       UNION ALL
       (SELECT 3, workload_id FROM lane_places WHERE lane = $1 AND state = 'held' ORDER BY seq LIMIT 1)
     ) first ORDER BY rank LIMIT 1`,
    [Buffer.from(lane, 'hex')],
  );
  return first?.workload_id ?? null;
}

/** The lane is as long as it may be. */
export async function isFull(tx: Queryable, lane: string): Promise<boolean> {
  const beyond = await tx.query(
    `SELECT 1 FROM lane_places WHERE lane = $1 AND state IN ('waiting', 'held') OFFSET $2 LIMIT 1`,
    [Buffer.from(lane, 'hex'), MAX_WAITING - 1],
  );
  return beyond.length > 0;
}

/** Whether a newcomer finds the gate of a locked lane open: there is room, and nobody waits before it. */
export async function isFree(tx: Queryable, spec: LaneSpec): Promise<boolean> {
  if (spec.gate === 'debounce') return false;
  const { lane, now } = await readLane(tx, spec);
  // One that supersedes goes before those that are not approved yet; the pump tells them.
  const before = lane.line.filter(({ state }) => state === 'waiting' || spec.mode === 'supersede');
  if (before.length > 0) return false;
  const newcomer: LanePlace = {
    ...spec,
    mode: null,
    seq: '0',
    workloadId: '',
    state: 'waiting',
    enteredAt: now,
    burstAt: null,
    openedAt: null,
  };
  return laneMoves({ ...lane, line: [newcomer] }, now).open.length > 0;
}

/** Gives a workload its places: those it passed, the one where it waits (or is held), those that come later. */
export async function takePlaces(
  tx: Queryable,
  tenantId: string,
  workloadId: string,
  specs: readonly LaneSpec[],
  passed: number,
  held: boolean,
): Promise<void> {
  const places = specs.map((spec, index) => ({
    ...spec,
    state: index < passed ? 'open' : index > passed ? 'later' : held ? 'held' : 'waiting',
  }));
  await tx.query(
    `INSERT INTO lane_places (tenant_id, lane, gate, workload_id, state, mode, capacity, period_ms, max_wait_ms, opened_at, look_at)
     SELECT $1, decode(p.lane, 'hex'), p.gate, $2, p.state, p.mode, p.capacity, p."periodMs", p."maxWaitMs",
       CASE WHEN p.state = 'open' THEN clock_timestamp() END,
       CASE WHEN p.state = 'waiting' THEN clock_timestamp()
         WHEN p.state = 'open' AND p.gate = 'rate' THEN clock_timestamp() + p."periodMs" * interval '1 millisecond' END
     FROM jsonb_to_recordset($3::jsonb) AS p(lane text, gate text, state text, mode text, capacity int, "periodMs" bigint,
       "maxWaitMs" bigint)`,
    [tenantId, workloadId, JSON.stringify(places)],
  );
}
