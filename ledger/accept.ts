import type { PostedEvent } from '../contracts/events';
import { Problem } from '../contracts/problems';
import type { WorkloadState } from '../contracts/terminology';
import { bodyHash, workloadIdFor } from '../domain/identity';
import { callbackOf, joinCallback } from './callbacks';
import { within, type Database, type Queryable } from './database';

export interface Accepted {
  workloadId: string;
  state: WorkloadState;
  /** The ledger already had this event; nothing was started. */
  duplicate: boolean;
}

const KNOWN = `
SELECT e.body_hash, w.state FROM events e JOIN workloads w USING (workload_id)
WHERE e.tenant_id = $1 AND e.source = $2 AND e.event_id = $3`;

/** Records the event, or says what was recorded before, in one round trip. */
const INSERT = `
WITH event AS (
  INSERT INTO events (tenant_id, source, event_id, workload_id, body_hash, body)
  VALUES ($1, $2, $3, $4, $5, $6)
  ON CONFLICT DO NOTHING
  RETURNING workload_id
), workload AS (
  INSERT INTO workloads (workload_id, tenant_id, source, event_id, action, subject)
  SELECT workload_id, $1, $2, $3, $7, $8 FROM event
  RETURNING workload_id
), callback AS (
  INSERT INTO callbacks (callback_id, workload_id, tenant_id, url, url_hash, host)
  SELECT $10::text, workload_id, $1, $11::text, $12::bytea, $13::text FROM workload WHERE $10::text IS NOT NULL
), note AS (
  INSERT INTO audit (tenant_id, workload_id, type, actor)
  SELECT $1, workload_id, 'event.accepted', $9::text FROM workload
)
SELECT NULL::bytea AS body_hash, 'accepted' AS state FROM workload
UNION ALL
${KNOWN}`;

interface Stored {
  /** Null when the event was recorded just now. */
  body_hash: Buffer | null;
  state: WorkloadState;
}

/**
 * Records a source event once. The same event again answers with its workload; the same identity with another body is the
 * problem `event.conflict`. Where its poster wants to be called is no part of it: each poster's callback is kept, up to the
 * problem `callback.limit`.
 */
export async function acceptEvent(
  db: Database | Queryable,
  tenantId: string,
  posted: PostedEvent,
  actor: string,
): Promise<Accepted> {
  const { callback_url: url, ...event } = posted;
  const callback = url === undefined ? null : callbackOf(url);
  const workloadId = workloadIdFor(tenantId, event.source, event.event_id);
  const hash = bodyHash(event);
  const identity = [tenantId, event.source, event.event_id];
  const [stored] = await db.query<Stored>(INSERT, [
    ...identity,
    workloadId,
    hash,
    JSON.stringify(event),
    event.action,
    event.subject ?? null,
    actor,
    callback?.callbackId ?? null,
    callback?.url ?? null,
    callback?.urlHash ?? null,
    callback?.host ?? null,
  ]);
  // Recorded by somebody else at the same moment: after this statement began, so it did not see it.
  const known = stored ?? (await db.query<Stored>(KNOWN, identity))[0];
  if (!known) throw new Error('an event that could not be inserted is not there');
  if (known.body_hash === null) return { workloadId, state: 'accepted', duplicate: false };
  if (!known.body_hash.equals(hash)) {
    throw new Problem('event.conflict', 'This event id was posted before with another body.', {
      errors: [{ pointer: '/event_id', detail: 'is taken by an event with another body' }],
      extra: { workload_id: workloadId },
    });
  }
  if (callback) await within(db, (tx) => joinCallback(tx, workloadId, callback, actor));
  return { workloadId, state: known.state, duplicate: true };
}
