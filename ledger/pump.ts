import { debugPoint } from '../domain/debug-point';
import { laneMoves, type LaneMoves, type LanePlace } from '../domain/lane-moves';
import { noteAbsorbed } from './absorbed';
import { applyFact } from './change';
import type { Database, Queryable } from './database';
import { lockLane, readLane, type LaneRef } from './lanes';
import { lockWorkload, type WorkloadRow } from './workload-row';

/** What came of one look at a lane. */
export interface Pumped {
  /** Workloads whose workflows must hear of it. */
  changed: WorkloadRow[];
  /** Lanes that have to be looked at because of it; this one again, when it is not done. */
  next: LaneRef[];
}

/** The lanes of a workload that somebody has to look at now. */
export function dueLanesOf(db: Queryable, workloadId: string): Promise<LaneRef[]> {
  return db.query<LaneRef>(
    `SELECT DISTINCT gate, encode(lane, 'hex') AS lane FROM lane_places
     WHERE workload_id = $1 AND look_at <= clock_timestamp()`,
    [workloadId],
  );
}

/** Lanes that should have been looked at `graceMs` ago and were not: a process died, or a turn came by the clock. */
export function dueLanes(db: Queryable, graceMs: number, limit = 200): Promise<LaneRef[]> {
  return db.query<LaneRef>(
    `SELECT DISTINCT gate, encode(lane, 'hex') AS lane FROM (
       SELECT gate, lane FROM lane_places
       WHERE look_at < clock_timestamp() - $1::float8 * interval '1 millisecond' ORDER BY look_at LIMIT $2
     ) due`,
    [graceMs, limit],
  );
}

/**
 * Looks at a lane, whose turn it is, and lets them through, in one transaction: the lane is locked first, then the workloads
 * in their order. What it does not get done stays marked. `own` is the workload whose workflow asks and needs no wake.
 */
export async function pumpLane(db: Database, ref: LaneRef, own: string | null = null): Promise<Pumped> {
  let moved = false;
  const pumped = await db.transaction(async (tx) => {
    await lockLane(tx, ref.lane);
    await clearLeft(tx, ref);
    const { lane, now } = await readLane(tx, ref);
    const moves = laneMoves(lane, now);
    const rows = await lockInvolved(tx, moves);
    // Somebody was cancelled or ended meanwhile, so the lane is another one now.
    if ([...rows.values()].some((row) => row.closed)) return { changed: [], next: [ref] };
    const round = new Round(tx, ref, rows, own);
    const again = lane.more && moves.giveWay.length + moves.open.length > 0;
    await round.forgetMarks(lane.line);
    if (lane.more && !again) await round.forgetUnread(now);
    for (const move of moves.giveWay) await round.giveWay(move);
    for (const place of moves.open) await round.open(place);
    if (moves.opensAt) await round.opensAt(moves.opensAt);
    debugPoint('pump-uncommitted');
    moved = moves.giveWay.length + moves.open.length > 0 || moves.opensAt !== null;
    return { changed: round.changed, next: again ? [ref, ...round.next] : round.next };
  });
  if (moved) debugPoint('pump-committed');
  return pumped;
}

/** Takes away those who left, and starts that a rate no longer counts. */
async function clearLeft(tx: Queryable, { gate, lane }: LaneRef): Promise<void> {
  await tx.query(
    `DELETE FROM lane_places WHERE lane = $1 AND (state = 'left'
       OR ($2 = 'rate' AND state = 'open' AND opened_at + period_ms * interval '1 millisecond' <= clock_timestamp()))`,
    [Buffer.from(lane, 'hex'), gate],
  );
}

async function lockInvolved(tx: Queryable, moves: LaneMoves): Promise<Map<string, WorkloadRow>> {
  const places = [
    ...moves.giveWay.flatMap(({ place, to }) => [place, to]),
    ...moves.open,
    ...(moves.opensAt ? [moves.opensAt.place] : []),
  ];
  const inOrder = [...new Map(places.map((place) => [place.workloadId, place])).values()].sort((a, b) =>
    BigInt(a.seq) < BigInt(b.seq) ? -1 : 1,
  );
  const rows = new Map<string, WorkloadRow>();
  for (const { workloadId } of inOrder) {
    const row = await lockWorkload(tx, workloadId);
    if (row) rows.set(workloadId, row);
  }
  return rows;
}

/** The moves of one look, carried out. */
class Round {
  readonly changed: WorkloadRow[] = [];
  readonly next: LaneRef[] = [];

  constructor(
    private readonly tx: Queryable,
    private readonly ref: LaneRef,
    private readonly rows: Map<string, WorkloadRow>,
    private readonly own: string | null,
  ) {}

  /** Only of those that were seen: who came in line since then is still to be looked at. */
  async forgetMarks(line: readonly LanePlace[]): Promise<void> {
    await this.tx.query(
      "UPDATE lane_places SET look_at = NULL WHERE seq = ANY($1) AND state = 'waiting' AND look_at IS NOT NULL",
      [line.map(({ seq }) => seq)],
    );
  }

  /**
   * Those behind a whole look of others that stay: until these move, nothing can come of looking. Not of one that supersedes,
   * which may be approved this moment and does not wait for the others.
   */
  async forgetUnread(now: number): Promise<void> {
    await this.tx.query(
      `UPDATE lane_places SET look_at = NULL
       WHERE lane = $1 AND state = 'waiting' AND look_at <= $2 AND mode IS DISTINCT FROM 'supersede'`,
      [Buffer.from(this.ref.lane, 'hex'), new Date(now)],
    );
  }

  async giveWay({ place, to, how }: LaneMoves['giveWay'][number]): Promise<void> {
    const row = this.rows.get(place.workloadId)!;
    const change = await applyFact(this.tx, row, { type: 'superseded', how }, this.context(row, { by: to.workloadId }));
    if (change.verdict === 'conflict') {
      // Nobody knows what became of it (lost): it cannot be cancelled, but it holds up nobody any more.
      await this.tx.query('DELETE FROM lane_places WHERE seq = $1', [place.seq]);
      return;
    }
    await noteAbsorbed(this.tx, row.workload_id, to.workloadId, how);
    this.tell(change.row);
    await this.tx.query('DELETE FROM lane_places WHERE seq = $1', [place.seq]);
    this.next.push(...(await dueLanesOf(this.tx, row.workload_id)));
  }

  async open(place: LanePlace): Promise<void> {
    const row = this.rows.get(place.workloadId)!;
    const following = await this.enterNext(place);
    // It may be at work already: news of an earlier delivery came while a redelivery waited.
    if (row.waiting_for === this.ref.gate && row.state === 'queued') {
      const fact = { type: 'opened', next: following?.gate ?? null } as const;
      this.tell((await applyFact(this.tx, row, fact, this.context(row))).row);
    }
    if (following) this.next.push(following);
  }

  private async enterNext(place: LanePlace): Promise<LaneRef | null> {
    // A debounce is over when it opens; the others count until the end, a rate as long as its window.
    const rows = await this.tx.query<LaneRef>(
      `WITH passed AS (
         UPDATE lane_places SET state = CASE WHEN gate = 'debounce' THEN 'left' ELSE 'open' END, opened_at = clock_timestamp(),
           look_at = CASE WHEN gate = 'debounce' THEN clock_timestamp()
             WHEN gate = 'rate' THEN clock_timestamp() + period_ms * interval '1 millisecond' END
         WHERE seq = $1
       )
       UPDATE lane_places SET state = 'waiting', entered_at = clock_timestamp(), look_at = clock_timestamp()
       WHERE seq = (SELECT min(seq) FROM lane_places WHERE workload_id = $2 AND state = 'later')
       RETURNING gate, encode(lane, 'hex') AS lane`,
      [place.seq, place.workloadId],
    );
    return rows[0] ?? null;
  }

  /** Says when the turn comes by the clock, to the workload's own timer and to the sweep. */
  async opensAt({ place, at, burstAt }: NonNullable<LaneMoves['opensAt']>): Promise<void> {
    const date = new Date(at);
    const burst = burstAt === null ? null : new Date(burstAt);
    await this.tx.query('UPDATE lane_places SET look_at = $2, burst_at = $3 WHERE seq = $1', [place.seq, date, burst]);
    const row = this.rows.get(place.workloadId)!;
    if (row.opens_at?.getTime() === at) return;
    const [told] = await this.tx.query<Pick<WorkloadRow, 'wake_seq'>>(
      `UPDATE workloads SET opens_at = $2, wake_seq = wake_seq + $3::int,
         wake_at = CASE WHEN $3 = 1 THEN clock_timestamp() ELSE wake_at END
       WHERE workload_id = $1 RETURNING wake_seq`,
      [place.workloadId, date, this.wakes(row) ? 1 : 0],
    );
    this.tell({ ...row, opens_at: date, wake_seq: told!.wake_seq });
  }

  private wakes(row: WorkloadRow): boolean {
    return row.workload_id !== this.own;
  }

  private context(row: WorkloadRow, detail?: Record<string, unknown>) {
    return { actor: 'lane', wake: this.wakes(row), detail: { gate: this.ref.gate, ...detail } };
  }

  private tell(row: WorkloadRow): void {
    this.rows.set(row.workload_id, row);
    if (this.wakes(row)) this.changed.push(row);
  }
}
