import type { Queryable } from './database';

/** Heartbeats could not be received when nobody said so for this long, milliseconds. */
export const WATCH_GAP_MS = 30_000;

/**
 * An api says that it receives heartbeats. After a break, of all apis or of the ledger, workers are given their whole time again
 * before their silence means anything.
 */
export async function noteWatching(db: Queryable): Promise<void> {
  await db.query(
    `INSERT INTO fleet_watch AS f (since, seen_at) VALUES (clock_timestamp(), clock_timestamp())
     ON CONFLICT (single) DO UPDATE SET seen_at = excluded.seen_at,
       since = CASE WHEN f.seen_at < clock_timestamp() - $1::float8 * interval '1 millisecond' THEN excluded.since ELSE f.since END`,
    [WATCH_GAP_MS],
  );
}
