-- Leases by pool, for pools that bound their concurrent work, and what auditors see of leases.

ALTER TABLE leases
  -- The pool whose worker holds it; NULL in those of version 0.2.
  ADD COLUMN pool_id text,
  ADD COLUMN renewals integer NOT NULL DEFAULT 0;
UPDATE leases l SET pool_id = w.pool_id FROM workloads w WHERE w.workload_id = l.work_id AND l.closed_at IS NULL;
CREATE INDEX leases_by_pool ON leases (pool_id) WHERE closed_at IS NULL;
-- Cancelled when they were under way: their lease is closed, and what they are may still run.
CREATE INDEX deliveries_cancelled ON deliveries (pool_id) WHERE status = 'cancelled' AND slot_until IS NOT NULL;

CREATE VIEW audit_leases AS
SELECT tenant_id, work_type, work_id, session_id, workflow_id, workflow_run_id,
  CASE WHEN status = 'held' AND (closed_at IS NOT NULL OR expires_at <= clock_timestamp()) THEN 'expired' ELSE status END AS status,
  priority, available_at, worker_id AS leased_by, expires_at AS lease_expires_at, checkpoint_version, last_heartbeat_at, claimed_at,
  completed_at, failed_at, idempotency_key, epoch, attempt, renewals, pool_id
FROM leases;
