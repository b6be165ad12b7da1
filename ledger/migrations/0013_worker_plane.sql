-- The managed worker plane: pools and workers with their terms, credentials that rotate, what heartbeats tell, and leases that say of
-- which unit of work they are.

ALTER TABLE pools
  ADD COLUMN name text,
  -- The tenant whose admins manage it; NULL: operators alone.
  ADD COLUMN tenant_id text REFERENCES tenants,
  ADD COLUMN mode text NOT NULL DEFAULT 'self_hosted' CHECK (mode IN ('self_hosted', 'saas_operated')),
  ADD COLUMN region text,
  -- What all its workers can do: { flags, profiles, providers } and whatever else its makers note.
  ADD COLUMN capabilities jsonb NOT NULL DEFAULT '{}',
  -- Workers that are neither retired nor revoked, at most; NULL or 0: any number.
  ADD COLUMN max_workers integer CHECK (max_workers >= 0),
  -- Units of work held at once by all its workers, at most; NULL or 0: any number.
  ADD COLUMN max_concurrent_work integer CHECK (max_concurrent_work >= 0),
  -- A worker's first heartbeat makes it active.
  ADD COLUMN auto_activate boolean NOT NULL DEFAULT false,
  -- An unhealthy worker's next good heartbeat makes it active again.
  ADD COLUMN auto_recover boolean NOT NULL DEFAULT false,
  -- Which workers fit (contracts/compatibility.ts); NULL: all.
  ADD COLUMN compatibility jsonb,
  ADD COLUMN updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ADD CONSTRAINT pools_activate_their_own CHECK (NOT auto_activate OR mode = 'self_hosted');
UPDATE pools SET name = pool_id, auto_activate = true;
ALTER TABLE pools ALTER COLUMN name SET NOT NULL;

ALTER TABLE workers
  -- The pool's tenant.
  ADD COLUMN tenant_id text REFERENCES tenants,
  ADD COLUMN region text,
  -- As declared by its heartbeats.
  ADD COLUMN capabilities jsonb NOT NULL DEFAULT '{}',
  ADD COLUMN runtime_version text,
  ADD COLUMN protocol_version integer,
  ADD COLUMN checkpoint_schemas integer[] NOT NULL DEFAULT '{}',
  ADD COLUMN event_contracts integer[] NOT NULL DEFAULT '{}',
  ADD COLUMN active_work_ids text[] NOT NULL DEFAULT '{}',
  ADD COLUMN last_error_summary text,
  -- Of the last heartbeat, and the credential it is counted under.
  ADD COLUMN heartbeat_sequence bigint,
  ADD COLUMN heartbeat_credential_id text,
  ADD COLUMN status_reason text,
  ADD COLUMN status_changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ADD COLUMN revoked_at timestamptz;
UPDATE workers SET revoked_at = updated_at WHERE status = 'revoked';
CREATE INDEX workers_by_pool ON workers (pool_id, worker_id);
CREATE INDEX workers_heard ON workers (last_heartbeat_at) WHERE status IN ('active', 'draining');

ALTER TABLE worker_credentials
  -- The end of the plaintext, to tell credentials apart; NULL for those issued before.
  ADD COLUMN last4 text,
  ADD COLUMN last_used_at timestamptz,
  ADD COLUMN rotated_from text REFERENCES worker_credentials,
  -- When the audit was told that it expired.
  ADD COLUMN expiry_noted_at timestamptz;
CREATE INDEX worker_credentials_by_worker ON worker_credentials (worker_id);
CREATE INDEX worker_credentials_expiring ON worker_credentials (expires_at) WHERE revoked_at IS NULL AND expiry_noted_at IS NULL;

-- A lease is of one unit of work: `work_id` is its workload.
ALTER TABLE leases
  ADD COLUMN tenant_id text,
  ADD COLUMN work_type text NOT NULL DEFAULT 'workload',
  -- Of the classes of work that have them.
  ADD COLUMN session_id text,
  ADD COLUMN workflow_id text,
  ADD COLUMN workflow_run_id text,
  ADD COLUMN status text NOT NULL DEFAULT 'held'
    CHECK (status IN ('held', 'completed', 'failed', 'released', 'cancelled', 'expired')),
  ADD COLUMN priority integer,
  -- From when on the unit could be claimed.
  ADD COLUMN available_at timestamptz,
  -- How often the unit was claimed, those given back before work began not counted.
  ADD COLUMN attempt integer NOT NULL DEFAULT 1,
  ADD COLUMN checkpoint_version bigint NOT NULL DEFAULT 0,
  -- The last renewal or fenced write.
  ADD COLUMN last_heartbeat_at timestamptz,
  ADD COLUMN completed_at timestamptz,
  ADD COLUMN failed_at timestamptz,
  -- What makes the unit's effects idempotent: its delivery id.
  ADD COLUMN idempotency_key text;
UPDATE leases l SET tenant_id = w.tenant_id, priority = w.priority, available_at = w.accepted_at,
  status = CASE WHEN l.closed_at IS NULL THEN 'held' WHEN l.close_reason = 'released' THEN 'released'
    WHEN w.state = 'completed' THEN 'completed' WHEN w.state = 'cancelled' THEN 'cancelled' ELSE 'failed' END
FROM workloads w WHERE w.workload_id = l.work_id;
ALTER TABLE leases ALTER COLUMN tenant_id SET NOT NULL;

ALTER TABLE workloads
  -- What a worker must declare to get it, { flags, profile, provider, region }; NULL: nothing.
  ADD COLUMN requires jsonb,
  -- The schema of its newest checkpoint; only workers that read it may go on with it. NULL: it has none.
  ADD COLUMN checkpoint_schema integer;
