-- What auditors read by SQL, see docs/audit.md. No hashes of tokens, no bodies of events, no texts of executors. They run with the
-- rights of their owner, so a reader needs none on the tables; `workloadd audit grant-reader` gives SELECT on these alone.

CREATE VIEW audit_events AS
SELECT tenant_id, source, event_id, workload_id, encode(body_hash, 'hex') AS body_sha256, body IS NOT NULL AS body_kept, received_at
FROM events;

CREATE VIEW audit_workloads AS
SELECT w.tenant_id, w.workload_id, w.source, w.action, w.event_id, w.subject, w.state, w.reason, w.accepted_at, w.updated_at, w.ended_at,
  w.rule_id, w.pool_id, w.executor, w.priority, w.delivery AS deliveries, w.attempts, w.deadline_kind, w.deadline_at, w.closed,
  w.may_still_run, w.corrected, w.double_execution, r.replay_of, r.reason AS replay_reason, r.actor AS replayed_by
FROM workloads w LEFT JOIN replays r USING (workload_id);

CREATE VIEW audit_decisions AS
SELECT tenant_id, workload_id, decision, rule_id, policy_version, policy_hash, reason, rule, dedupe_key, duplicate_of, trace, decided_at
FROM decisions;

CREATE VIEW audit_policies AS
SELECT p.tenant_id, p.version, p.policy_hash, p.source, p.created_at, p.created_by, p.version = t.active_policy_version AS active
FROM policies p JOIN tenants t USING (tenant_id);

CREATE VIEW audit_deliveries AS
SELECT w.tenant_id, d.workload_id, d.number, d.delivery_id, d.executor, d.worker_id, d.pool_id, d.epoch, d.intent_at, d.write, d.written_at,
  d.status, d.started_at, d.ended_at, d.executor_instance, d.executor_attempt, d.double_execution, d.suspect_since
FROM deliveries d JOIN workloads w USING (workload_id);

-- Without a tenant: reported of deliveries that nobody knows.
CREATE VIEW audit_lifecycle AS
SELECT w.tenant_id, l.workload_id, l.seq, l.delivery_number, l.delivery_id, l.event_id, l.status, l.occurred_at, l.received_at,
  l.worker_id, l.pool_id, l.effect, l.note
FROM lifecycle_events l LEFT JOIN workloads w USING (workload_id);

-- One row for each grant and each delivery that got a token; grants of deliveries that were never claimed have no delivery.
CREATE VIEW audit_capabilities AS
SELECT w.tenant_id, g.workload_id, g.number AS grant_number, g.hook, g.kind, g.operations, g.literals, g.globs, g.max_uses, g.ttl_ms,
  t.delivery, t.state, coalesce(t.uses[g.number], 0) AS uses, t.refused, t.repeated, t.minted_at, t.active_since, t.deadline_at,
  t.closed_at, t.close_reason, r.revoked_at, r.actor AS revoked_by, r.reason AS revoke_reason
FROM capability_grants g JOIN workloads w USING (workload_id)
  LEFT JOIN capability_tokens t USING (workload_id) LEFT JOIN capability_revocations r USING (workload_id);

-- All that happened to workloads, in order.
CREATE VIEW audit_timeline AS
SELECT tenant_id, workload_id, seq, at, type, actor, detail FROM audit WHERE workload_id IS NOT NULL;

-- All that happened, also what belongs to no workload or no tenant: tokens, workers, policies.
CREATE VIEW audit_trail AS
SELECT tenant_id, workload_id, seq, at, type, actor, detail FROM audit;
