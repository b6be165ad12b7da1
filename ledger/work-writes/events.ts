import type { JsonValue } from '../../contracts/events';
import { WORK_LIMITS, type WorkEvent, type WorkEventRecord, type WorkEventsWritten } from '../../contracts/work-writes';
import { canonicalJson } from '../../domain/identity';
import { secretHash } from '../../domain/secret';
import type { Queryable } from '../database';
import type { FencedWrite } from '../fenced-write';
import { fencedCall, utc, WRITER } from './fenced-call';

const KIND = { kind: 'events', call: `write_work_events(${WRITER}, $6, $7, $8, $9, $10, $11, $12)` };

/** Records events of the work, in the order of their sequences: all that are new or, if one cannot be taken, none. */
export async function writeEvents(
  db: Queryable,
  write: FencedWrite,
  events: readonly WorkEvent[],
): Promise<WorkEventsWritten> {
  const written = await fencedCall<WorkEventsWritten['events']>(db, KIND, write, [
    events.map((event) => event.event_id),
    events.map((event) => event.sequence),
    events.map((event) => event.type),
    events.map((event) => JSON.stringify(event.payload)),
    events.map((event) => secretHash(canonicalJson(event as JsonValue))),
    WORK_LIMITS.events,
    WORK_LIMITS.eventBytes,
  ]);
  return { events: written.map((event) => ({ ...event, recorded_at: utc(event.recorded_at) })) };
}

/** Bytes of payloads in one page, at most; a page has at least one event. */
const PAGE_BYTES = 4 * 1024 * 1024;

/** Events of a tenant's workload after a sequence, in order; null when the tenant has no such workload. */
export async function eventsAfter(
  db: Queryable,
  tenantId: string,
  workloadId: string,
  { after, limit }: { after: number; limit: number },
): Promise<{ events: WorkEventRecord[]; more: boolean } | null> {
  type Row = Omit<WorkEventRecord, 'payload' | 'recorded_at'> & { payload: string; recorded_at: Date; bytes: number };
  const rows = await db.query<{ known: boolean } & Partial<Row>>(
    `SELECT true AS known, e.* FROM workloads w LEFT JOIN LATERAL (
       SELECT event_id, sequence::float8 AS sequence, type, payload, delivery, recorded_at,
         (sum(octet_length(payload)) OVER (ORDER BY e.sequence))::float8 AS bytes
       FROM (SELECT * FROM work_events WHERE workload_id = w.workload_id AND sequence > $3 ORDER BY sequence LIMIT $4) e
       ORDER BY e.sequence) e ON true
     WHERE w.workload_id = $1 AND w.tenant_id = $2 ORDER BY e.sequence`,
    [workloadId, tenantId, after, limit + 1],
  );
  if (rows.length === 0) return null;
  const found = rows.filter((row): row is { known: boolean } & Row => row.event_id != null);
  const shown = found.slice(0, limit).filter((row, index) => index === 0 || row.bytes <= PAGE_BYTES);
  const events = shown.map(({ event_id, sequence, type, payload, delivery, recorded_at }) => ({
    event_id,
    sequence,
    type,
    payload: JSON.parse(payload) as unknown,
    delivery,
    recorded_at: recorded_at.toISOString(),
  }));
  return { events, more: found.length > shown.length };
}
