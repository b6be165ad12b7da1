import type { Gate } from '../contracts/terminology';
import type { LaneSpec } from './lane-specs';

/** A workload's place in a lane. Times are milliseconds of the ledger's clock. */
export interface LanePlace extends Pick<LaneSpec, 'mode' | 'capacity' | 'periodMs' | 'maxWaitMs'> {
  /** Order of admission. */
  seq: string;
  workloadId: string;
  state: 'held' | 'waiting' | 'open';
  enteredAt: number;
  /** When the burst began that it is the newest of. */
  burstAt: number | null;
  openedAt: number | null;
}

/** What a lane holds: who was let through, and by `seq` the first in line, with the newest that supersedes. */
export interface Lane {
  gate: Gate;
  open: readonly LanePlace[];
  line: readonly LanePlace[];
  /** There are more in line than were read. */
  more: boolean;
}

/** What has to be done in a lane. */
export interface LaneMoves {
  /** Those who give way, each to one that stays. */
  giveWay: { place: LanePlace; to: LanePlace; how: 'superseded' | 'debounced' }[];
  /** Those whose turn it is, in order. */
  open: LanePlace[];
  /** The next one, when its turn is a matter of time. */
  opensAt: { place: LanePlace; at: number; burstAt: number | null } | null;
}

/** The one place that decides whose turn it is: pure, and total over every lane. */
export function laneMoves(lane: Lane, now: number): LaneMoves {
  switch (lane.gate) {
    case 'debounce':
      return newestOfBurst(lane, now);
    case 'key':
      return oneAtATime(lane);
    case 'concurrency':
      return { giveWay: [], open: whileRoom(lane.line.filter(isWaiting), lane.open.length), opensAt: null };
    case 'rate':
      return withinRate(lane, now);
  }
}

const byAdmission = (a: LanePlace, b: LanePlace): number => (BigInt(a.seq) < BigInt(b.seq) ? -1 : 1);
const isWaiting = ({ state }: LanePlace): boolean => state === 'waiting';

function whileRoom(waiting: readonly LanePlace[], taken: number): LanePlace[] {
  const open: LanePlace[] = [];
  for (const place of waiting) {
    if (taken + open.length >= place.capacity) break;
    open.push(place);
  }
  return open;
}

/** Everybody before the newest waiting place that supersedes gives way to it; then the first in line, if nobody is open. */
function oneAtATime({ open, line, more }: Lane): LaneMoves {
  const giveWay: LaneMoves['giveWay'] = [];
  const staying: LanePlace[] = [];
  let newer: LanePlace | null = null;
  for (const place of [...open, ...line].sort(byAdmission).reverse()) {
    if (newer) giveWay.unshift({ place, to: newer, how: 'superseded' });
    else staying.push(place);
    if (isWaiting(place) && place.mode === 'supersede') newer ??= place;
  }
  const someoneIsOpen = staying.some(({ state }) => state === 'open');
  // Behind what was read there may be more who give way to the same one; they go first.
  const unread = more && giveWay.some(({ place }) => place.state !== 'open');
  const first = someoneIsOpen || unread ? undefined : staying.reverse().find(isWaiting);
  return { giveWay, open: first ? [first] : [], opensAt: null };
}

/** Each gives way to the next one that came before its time was over. */
function newestOfBurst({ line, more }: Lane, now: number): LaneMoves {
  const moves: LaneMoves = { giveWay: [], open: [], opensAt: null };
  const newest = line.findLastIndex(isWaiting);
  let burstAt: number | null = null;
  for (const [index, place] of line.slice(0, newest + 1).entries()) {
    const next = line.slice(index + 1).find(isWaiting);
    if (!isWaiting(place)) {
      moves.giveWay.push({ place, to: next!, how: 'debounced' });
      continue;
    }
    burstAt = place.burstAt ?? burstAt ?? place.enteredAt;
    const quiet = place.enteredAt + place.periodMs!;
    const at = place.maxWaitMs === null ? quiet : Math.min(quiet, burstAt + place.maxWaitMs);
    if (next && at > next.enteredAt) {
      moves.giveWay.push({ place, to: next, how: 'debounced' });
    } else if (next || (at <= now && !more)) {
      moves.open.push(place);
      burstAt = null;
    } else if (!more) {
      moves.opensAt = { place, at, burstAt };
    }
  }
  return moves;
}

/** As many as the rate leaves room for; the next one when the oldest of the window is out of it. */
function withinRate({ open, line }: Lane, now: number): LaneMoves {
  const started = open.map(({ openedAt }) => openedAt!).sort((a, b) => a - b);
  const opening: LanePlace[] = [];
  for (const place of line.filter(isWaiting)) {
    const recent = started.filter((at) => at > now - place.periodMs!);
    if (recent.length >= place.capacity) {
      const at = recent[recent.length - place.capacity]! + place.periodMs!;
      return { giveWay: [], open: opening, opensAt: { place, at, burstAt: null } };
    }
    opening.push(place);
    started.push(now);
  }
  return { giveWay: [], open: opening, opensAt: null };
}
