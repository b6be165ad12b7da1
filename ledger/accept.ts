import type { PostedEvent } from '../contracts/events';
import { Problem } from '../contracts/problems';
import type { WorkloadState } from '../contracts/terminology';
import { bodyHash, workloadIdFor } from '../domain/identity';
import { acceptGate, lockedLimits, refused, refusedAtOnce, type AcceptGate } from './accept-charges';
import { callbackOf, joinCallback } from './callbacks';
import { Database, within, type Queryable } from './database';
import { notingDenials } from './denials';
import { charge } from './quota-standings';

export interface Accepted {
  workloadId: string;
  state: WorkloadState;
  /** The ledger already had this event; nothing was started. */
  duplicate: boolean;
}

const KNOWN = `
SELECT e.body_hash, w.state, NULL::jsonb AS gate FROM events e JOIN workloads w USING (workload_id)
WHERE e.tenant_id = $1 AND e.source = $2 AND e.event_id = $3`;

/**
 * Records the event, or says what was recorded before, or what stands against it (not with `passed`, $14), in one round trip.
 */
const INSERT = `
WITH gate AS MATERIALIZED (${acceptGate('$1')} AND NOT $14::boolean), event AS (
  INSERT INTO events (tenant_id, source, event_id, workload_id, body_hash, body)
  SELECT $1, $2, $3, $4, $5::bytea, $6 WHERE NOT EXISTS (SELECT 1 FROM gate)
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
SELECT NULL::bytea AS body_hash, 'accepted' AS state, NULL::jsonb AS gate FROM workload
UNION ALL
(${KNOWN})
UNION ALL
SELECT NULL, 'accepted', to_jsonb(gate) FROM gate WHERE NOT EXISTS (${KNOWN})`;

interface Stored {
  /** Null when the event was recorded just now, or not at all. */
  body_hash: Buffer | null;
  state: WorkloadState;
  /** What stands against recording it: it was not. */
  gate?: AcceptGate | null;
}

/**
 * Records a source event once. The same event again answers with its workload; the same identity with another body is the
 * problem `event.conflict`. A new one may be refused before anything is stored: `quota.exceeded`, `entitlement.lapsed`. Limits count
 * what an operator posts again (`byOperator`, default false) and do not refuse it. Where its poster wants to be called is no part of
 * the event: each poster's callback is kept, up to the problem `callback.limit`.
 */
export async function acceptEvent(
  db: Database | Queryable,
  tenantId: string,
  posted: PostedEvent,
  actor: string,
  byOperator = false,
): Promise<Accepted> {
  const { callback_url: url, ...event } = posted;
  const callback = url === undefined ? null : callbackOf(url);
  const workloadId = workloadIdFor(tenantId, event.source, event.event_id);
  const hash = bodyHash(event);
  const values = [
    tenantId,
    event.source,
    event.event_id,
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
  ];
  const first = await insert(db, values, false);
  const charging = (): Promise<Stored> => insertWithinLimits(db, values, first.gate!, byOperator);
  const known = !first.gate
    ? first
    : db instanceof Database
      ? await notingDenials(db, { tenantId, actor }, charging)
      : await charging();
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

async function insert(db: Queryable, values: readonly unknown[], passed: boolean): Promise<Stored> {
  const [stored] = await db.query<Stored>(INSERT, [...values, passed]);
  // Recorded by somebody else at the same moment: after this statement began, so it did not see it.
  const known = stored ?? (await db.query<Stored>(KNOWN, values.slice(0, 3)))[0];
  if (!known) throw new Error('an event that could not be inserted is not there');
  return known;
}

/** Records an event of a tenant that has limits, and charges it to them; not if somebody else has recorded it meanwhile. */
async function insertWithinLimits(
  db: Database | Queryable,
  values: readonly unknown[],
  gate: AcceptGate,
  byOperator: boolean,
): Promise<Stored> {
  const early = refusedAtOnce(gate, byOperator);
  if (early) throw early;
  return within(db, async (tx) => {
    const standings = await lockedLimits(tx, values[0] as string);
    const refusal = byOperator ? null : refused(standings);
    if (refusal) {
      const [known] = await tx.query<Stored>(KNOWN, values.slice(0, 3));
      if (known) return known;
      throw refusal;
    }
    const stored = await insert(tx, values, true);
    if (stored.body_hash === null) await charge(tx, standings);
    return stored;
  });
}
