import type { Report } from '../../domain/finding';
import { reconcile, type LedgerStory } from '../../domain/reconcile';
import type { Queryable } from '../database';

const STORIES = `
SELECT w.workload_id, w.state, w.closed, w.executor, w.delivery, w.double_execution,
  EXISTS (SELECT 1 FROM events e WHERE e.workload_id = w.workload_id) AS has_event,
  extract(epoch FROM clock_timestamp() - w.deadline_at)::float8 AS overdue_seconds,
  CASE WHEN w.wake_sent < w.wake_seq THEN extract(epoch FROM clock_timestamp() - w.wake_at)::float8 END AS unsent_seconds,
  EXISTS (SELECT 1 FROM audit_archives r WHERE r.chain = w.tenant_id) AS archived,
  (SELECT row_to_json(d) FROM (
     SELECT decision, rule_id, policy_hash, dedupe_key,
       coalesce(w.lanes @> '[{"gate": "key"}]', false) OR EXISTS (
         SELECT 1 FROM replays r WHERE r.workload_id = w.workload_id AND r.bypassed_holder IS NOT NULL) AS unclaimed
     FROM decisions WHERE workload_id = w.workload_id) d) AS decision,
  (SELECT coalesce(json_agg(d), '[]') FROM (
     SELECT number, write, ended_at, target, execution FROM deliveries WHERE workload_id = w.workload_id) d) AS deliveries,
  (SELECT row_to_json(l) FROM (
     SELECT epoch, delivery, closed_at IS NULL AS open,
       extract(epoch FROM clock_timestamp() - expires_at)::float8 AS over_seconds FROM leases WHERE work_id = w.workload_id) l) AS lease,
  (SELECT coalesce(json_agg(c), '[]') FROM (
     SELECT open FROM dedupe_claims WHERE workload_id = w.workload_id) c) AS claims,
  (SELECT coalesce(json_agg(spec ->> 'gate'), '[]') FROM jsonb_array_elements(w.lanes) spec
   WHERE spec ->> 'gate' IN ('key', 'concurrency') AND NOT EXISTS (
     SELECT 1 FROM lane_places p WHERE p.workload_id = w.workload_id AND p.state = 'open'
       AND p.gate = spec ->> 'gate' AND encode(p.lane, 'hex') = spec ->> 'lane')) AS gates_not_held,
  (SELECT coalesce(json_agg(l ORDER BY l.seq), '[]') FROM (
     SELECT seq, event_id, delivery_number, status, effect, received_at
     FROM lifecycle_events WHERE workload_id = w.workload_id) l) AS lifecycle,
  (SELECT coalesce(json_agg(json_build_object('seq', a.seq::text, 'type', a.type, 'detail', a.detail) ORDER BY a.seq), '[]')
   FROM audit a WHERE a.workload_id = w.workload_id) AS audit
FROM workloads w WHERE w.workload_id > $1 ORDER BY w.workload_id LIMIT $2`;

const BATCH = 300;

/** Compares the parts of the ledger for every workload, some hundred at a time. Returns the number of workloads. */
export async function verifyStories(
  db: Queryable,
  report: Report,
  progress: (workloads: number) => void,
): Promise<number> {
  let count = 0;
  for (let after = ''; ;) {
    const stories = await db.query<LedgerStory>(STORIES, [after, BATCH]);
    for (const story of stories) reconcile(story, report);
    count += stories.length;
    progress(stories.length);
    if (stories.length < BATCH) break;
    after = stories.at(-1)!.workload_id;
  }
  await verifyStrangers(db, report);
  return count;
}

async function verifyStrangers(db: Queryable, report: Report): Promise<void> {
  const lost = await db.query<{ workload_id: string; what: string }>(
    `SELECT e.workload_id, 'an event' AS what FROM events e
     WHERE NOT EXISTS (SELECT 1 FROM workloads w WHERE w.workload_id = e.workload_id)
     UNION ALL
     SELECT DISTINCT a.workload_id, 'audit rows' FROM audit a
     WHERE a.workload_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM workloads w WHERE w.workload_id = a.workload_id)
     LIMIT 1000`,
  );
  for (const { workload_id, what } of lost)
    report({ code: 'ledger.unknown_workload', message: `it has ${what}, and there is no such workload`, workload_id });
  const [strangers] = await db.query<{ n: number }>(
    "SELECT count(*)::int AS n FROM lifecycle_events WHERE workload_id IS NULL AND effect = 'unknown_delivery'",
  );
  if (strangers!.n > 0)
    report({
      code: 'lifecycle.unknown_delivery',
      message: `${strangers!.n} lifecycle events are of workloads that the ledger never had`,
    });
}
