import type { ReplayRecord } from '../contracts/workload-record';

/** Columns of a {@link ReplayRecord}, the other side's id apart. */
export const REPLAY_COLUMNS = 'reason, actor, replayed_at AS at, bypass_dedupe, bypassed_holder';

/** A replay as the database's JSON has it. */
export const replayRecordOf = (stored: ReplayRecord): ReplayRecord => ({
  ...stored,
  at: new Date(stored.at).toISOString(),
});
