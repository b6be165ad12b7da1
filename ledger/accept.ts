import type { SourceEvent } from '../contracts/events';
import { Problem } from '../contracts/problems';
import type { WorkloadState } from '../contracts/terminology';
import { bodyHash, workloadIdFor } from '../domain/identity';
import type { Queryable } from './database';

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
  ON CONFLICT (tenant_id, source, event_id) DO NOTHING
  RETURNING workload_id
), workload AS (
  INSERT INTO workloads (workload_id, tenant_id, source, event_id, action, subject)
  SELECT workload_id, $1, $2, $3, $7, $8 FROM event
  RETURNING workload_id
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
 * problem `event.conflict`.
 */
export async function acceptEvent(
  db: Queryable,
  tenantId: string,
  event: SourceEvent,
  actor: string,
): Promise<Accepted> {
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
  return { workloadId, state: known.state, duplicate: true };
}
