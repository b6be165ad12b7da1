import type { AfterTry, TryOutcome } from '../domain/webhooks/retry';
import type { Queryable } from './database';

/** A message to send now, and all that is needed for it. */
export interface TakenMessage {
  message_id: string;
  tenant_id: string;
  workload_id: string;
  kind: 'callback' | 'subscription';
  target_id: string;
  host: string;
  body: string;
  /** Number of this try. */
  attempts: number;
  /** Null when its subscription was deleted meanwhile. */
  url: string | null;
  secret_version: number;
  rotated_at: Date | null;
  now: Date;
}

/** How much may be taken at once. */
export interface Room {
  /** Messages in all. */
  total: number;
  /** Messages of one host, unless `hosts` says otherwise. */
  perHost: number;
  /** Hosts that have messages under way or do not answer, and how many more each may have. */
  hosts: ReadonlyMap<string, number>;
}

/**
 * Takes messages that are due, of each host the oldest, so that one with many does not keep the others waiting. What is not
 * concluded within `leaseMs` is due again, so a sender that dies loses nothing.
 */
export async function takeMessages(db: Queryable, room: Room, leaseMs: number): Promise<TakenMessage[]> {
  return db.query<TakenMessage>(
    `WITH RECURSIVE hosts AS (
       (SELECT host FROM webhook_messages WHERE state = 'pending' ORDER BY host LIMIT 1)
       UNION ALL
       SELECT (SELECT m.host FROM webhook_messages m WHERE m.state = 'pending' AND m.host > h.host ORDER BY m.host LIMIT 1)
       FROM hosts h WHERE h.host IS NOT NULL
     ), due AS (
       SELECT m.message_id FROM hosts h
       LEFT JOIN unnest($1::text[], $2::int[]) AS known(host, room) ON known.host = h.host
       CROSS JOIN LATERAL (
         SELECT message_id, next_attempt_at FROM webhook_messages
         WHERE host = h.host AND state = 'pending' AND next_attempt_at <= clock_timestamp()
         ORDER BY next_attempt_at LIMIT coalesce(known.room, $3) FOR UPDATE SKIP LOCKED
       ) m ORDER BY m.next_attempt_at LIMIT $4
     ), taken AS (
       UPDATE webhook_messages w SET attempts = attempts + 1,
         next_attempt_at = clock_timestamp() + $5::float8 * interval '1 millisecond'
       FROM due WHERE w.message_id = due.message_id
       RETURNING w.message_id, w.tenant_id, w.workload_id, w.kind, w.target_id, w.host, w.body, w.attempts
     )
     SELECT t.*, coalesce(c.url, s.url) AS url, coalesce(s.secret_version, k.secret_version, 1) AS secret_version,
       CASE t.kind WHEN 'callback' THEN k.rotated_at ELSE s.rotated_at END AS rotated_at, clock_timestamp() AS now
     FROM taken t
     LEFT JOIN callbacks c ON t.kind = 'callback' AND c.callback_id = t.target_id
     LEFT JOIN callback_secrets k ON t.kind = 'callback' AND k.tenant_id = t.tenant_id
     LEFT JOIN subscriptions s ON t.kind = 'subscription' AND s.subscription_id = t.target_id`,
    [[...room.hosts.keys()], [...room.hosts.values()], room.perHost, room.total, leaseMs],
  );
}

/**
 * Writes down what became of a try, unless another one has been made since. A receiver that is gone closes its callback or
 * subscription. The audit gets the first failure and the end, not every try.
 */
export async function concludeTry(
  db: Queryable,
  message: Pick<TakenMessage, 'message_id' | 'attempts'>,
  outcome: Pick<TryOutcome, 'status' | 'error'>,
  after: AfterTry | { state: 'withdrawn' },
): Promise<void> {
  await db.query(
    `WITH before AS (
       SELECT message_id, last_error FROM webhook_messages
       WHERE message_id = $1 AND attempts = $2 AND state = 'pending' FOR UPDATE
     ), message AS (
       UPDATE webhook_messages m SET state = $3, last_status = $4, last_error = $5,
         next_attempt_at = clock_timestamp() + $6::float8 * interval '1 millisecond',
         ended_at = CASE WHEN $3 <> 'pending' THEN clock_timestamp() END
       FROM before WHERE m.message_id = before.message_id
       RETURNING m.*, before.last_error AS earlier_error
     ), callback AS (
       UPDATE callbacks SET closed_at = clock_timestamp() FROM message
       WHERE message.state = 'gone' AND callback_id = message.target_id
     ), subscription AS (
       UPDATE subscriptions SET disabled_at = clock_timestamp() FROM message
       WHERE message.state = 'gone' AND subscription_id = message.target_id
     ), others AS (
       -- Those that somebody is concluding now end by themselves; to wait for them would be to wait for each other.
       UPDATE webhook_messages SET state = 'gone', ended_at = clock_timestamp() WHERE message_id IN (
         SELECT other.message_id FROM webhook_messages other, message
         WHERE message.state = 'gone' AND other.target_id = message.target_id AND other.state = 'pending'
           AND other.message_id <> message.message_id FOR UPDATE OF other SKIP LOCKED)
     )
     INSERT INTO audit (tenant_id, workload_id, type, actor, detail)
     SELECT tenant_id, workload_id, 'webhook.' || CASE state WHEN 'pending' THEN 'failed' ELSE state END, 'control',
       jsonb_build_object('message_id', message_id, 'callback_id', target_id, 'kind', kind, 'host', host, 'type', type,
         'status', last_status, 'error', last_error, 'attempts', attempts)
     FROM message WHERE state <> 'pending' OR earlier_error IS NULL`,
    [
      message.message_id,
      message.attempts,
      after.state,
      outcome.status,
      outcome.error,
      after.state === 'pending' ? after.delayMs : 0,
    ],
  );
}

/** Messages that are not delivered yet, and the age of the oldest in milliseconds. */
export async function webhookBacklog(db: Queryable): Promise<{ count: number; oldest_ms: number }> {
  const [row] = await db.query<{ count: number; oldest_ms: number }>(
    `SELECT count(*)::int AS count,
       coalesce(extract(epoch FROM clock_timestamp() - min(created_at)) * 1000, 0)::float8 AS oldest_ms
     FROM webhook_messages WHERE state = 'pending'`,
  );
  return row!;
}

/**
 * Deletes ended messages after `days`, and then the callbacks of closed workloads: their URLs are secrets. At most `limit` of
 * each. Returns how many.
 */
export async function pruneWebhooks(db: Queryable, days: number, limit: number): Promise<number> {
  const messages = await db.query(
    `DELETE FROM webhook_messages WHERE message_id IN (
       SELECT message_id FROM webhook_messages
       WHERE state <> 'pending' AND ended_at < clock_timestamp() - $1::float8 * interval '1 day' LIMIT $2) RETURNING 1`,
    [days, limit],
  );
  const callbacks = await db.query(
    `DELETE FROM callbacks WHERE callback_id IN (
       SELECT c.callback_id FROM callbacks c JOIN workloads w USING (workload_id)
       WHERE c.created_at < clock_timestamp() - $1::float8 * interval '1 day'
         AND w.closed AND w.ended_at < clock_timestamp() - $1::float8 * interval '1 day'
         AND NOT EXISTS (SELECT 1 FROM webhook_messages m WHERE m.target_id = c.callback_id AND m.state = 'pending')
       LIMIT $2) RETURNING 1`,
    [days, limit],
  );
  return messages.length + callbacks.length;
}
