-- The ledger. Times are the database's clock. Bodies are JSON text, since jsonb refuses NUL and lone surrogates.

CREATE TABLE tenants (
  tenant_id text PRIMARY KEY,
  active_policy_version integer,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE tokens (
  token_id text PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenants,
  name text NOT NULL,
  token_hash bytea NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz,
  revoked_at timestamptz
);

-- Every version of a tenant's policy is kept; tenants.active_policy_version says which one decides.
CREATE TABLE policies (
  tenant_id text NOT NULL REFERENCES tenants,
  version integer NOT NULL,
  policy_hash text NOT NULL,
  source text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  created_by text NOT NULL,
  PRIMARY KEY (tenant_id, version)
);

CREATE TABLE pools (
  pool_id text PRIMARY KEY,
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused', 'retired')),
  -- The tenants it serves; NULL serves all.
  tenants text[],
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE workers (
  worker_id text PRIMARY KEY,
  pool_id text NOT NULL REFERENCES pools,
  display_name text NOT NULL,
  status text NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'active', 'draining', 'paused', 'unhealthy', 'retired', 'revoked')),
  max_open_deliveries integer NOT NULL DEFAULT 1 CHECK (max_open_deliveries BETWEEN 1 AND 1000),
  version text,
  last_heartbeat_at timestamptz,
  last_error_code text,
  current_load integer NOT NULL DEFAULT 0,
  -- The slot's circuit breaker: set when a delivery was lost, closed by newer lifecycle, a restart or an operator.
  suspect_since timestamptz,
  suspect_probe_at timestamptz,
  suspect_backoff_ms bigint,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE worker_credentials (
  credential_id text PRIMARY KEY,
  worker_id text NOT NULL REFERENCES workers,
  token_hash bytea NOT NULL,
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);

-- One row per accepted event; identity is for ever, the body may be pruned.
CREATE TABLE events (
  tenant_id text NOT NULL REFERENCES tenants,
  source text NOT NULL,
  event_id text NOT NULL,
  workload_id text NOT NULL UNIQUE,
  body_hash bytea NOT NULL,
  -- The posted event as JSON text; NULL once pruned.
  body text,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, source, event_id)
);

CREATE TABLE workloads (
  workload_id text PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenants,
  source text NOT NULL,
  action text NOT NULL,
  event_id text NOT NULL,
  subject text,
  state text NOT NULL DEFAULT 'accepted',
  reason text NOT NULL DEFAULT 'accepted',
  accepted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz,
  -- From the decision.
  rule_id text,
  pool_id text,
  executor text,
  priority integer,
  -- What governs the way after admission (domain WorkloadTerms).
  terms jsonb,
  -- Progress (domain WorkloadProgress).
  delivery integer NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0,
  max_deliveries integer NOT NULL DEFAULT 1,
  queued_until timestamptz,
  total_at timestamptz,
  late_until timestamptz,
  deadline_kind text,
  deadline_at timestamptz,
  closed boolean NOT NULL DEFAULT false,
  may_still_run boolean NOT NULL DEFAULT false,
  corrected boolean NOT NULL DEFAULT false,
  double_execution boolean NOT NULL DEFAULT false,
  -- +1 for each committed fact the workflow must hear of; wake_sent is the last one Temporal has taken.
  wake_seq bigint NOT NULL DEFAULT 1,
  wake_sent bigint NOT NULL DEFAULT 0,
  wake_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  swept_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX workloads_unsent ON workloads (wake_at) WHERE wake_sent < wake_seq;
CREATE INDEX workloads_overdue ON workloads (deadline_at) WHERE deadline_at IS NOT NULL AND NOT closed;
CREATE INDEX workloads_queued ON workloads (pool_id) WHERE state = 'queued';
CREATE INDEX workloads_open ON workloads (swept_at) WHERE NOT closed;
CREATE INDEX workloads_listed ON workloads (tenant_id, accepted_at DESC, workload_id DESC);

-- One immutable record per event, also when the answer is no.
CREATE TABLE decisions (
  workload_id text PRIMARY KEY REFERENCES workloads,
  tenant_id text NOT NULL,
  decision text NOT NULL,
  rule_id text,
  policy_version integer,
  policy_hash text,
  reason text NOT NULL,
  -- The rule as it was at admission, JSON text; NULL when none matched.
  rule text,
  dedupe_key text,
  -- The workload that holds the key, when the decision is `duplicate`.
  duplicate_of text,
  -- Rule by rule, up to the one that matched.
  trace text NOT NULL,
  decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE dedupe_claims (
  tenant_id text NOT NULL,
  -- SHA-256 of the key, which may be longer than an index entry; decisions.dedupe_key has it in full.
  key_hash bytea NOT NULL,
  workload_id text NOT NULL REFERENCES workloads,
  claimed_at timestamptz NOT NULL,
  -- Held while its workload is open and until this time.
  window_until timestamptz NOT NULL,
  open boolean NOT NULL DEFAULT true,
  PRIMARY KEY (tenant_id, key_hash)
);
CREATE INDEX dedupe_claims_by_workload ON dedupe_claims (workload_id);

CREATE TABLE leases (
  work_id text PRIMARY KEY REFERENCES workloads,
  epoch bigint NOT NULL,
  token_hash bytea NOT NULL,
  worker_id text NOT NULL REFERENCES workers,
  credential_id text NOT NULL,
  -- Tells a claim repeated by the same attempt from one after a crash; NULL when the worker sends none.
  claim_key_hash bytea,
  claimed_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  -- The delivery recorded under this lease; NULL before intent.
  delivery integer,
  closed_at timestamptz,
  close_reason text
);
CREATE INDEX leases_held ON leases (worker_id) WHERE closed_at IS NULL;

CREATE TABLE deliveries (
  workload_id text NOT NULL REFERENCES workloads,
  number integer NOT NULL,
  delivery_id text NOT NULL UNIQUE,
  executor text NOT NULL,
  worker_id text NOT NULL,
  pool_id text NOT NULL,
  epoch bigint NOT NULL,
  intent_key_hash bytea NOT NULL,
  intent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- intended: intent recorded, write not reported. unknown: may or may not be in the pipe.
  write text NOT NULL DEFAULT 'intended' CHECK (write IN ('intended', 'written', 'unknown', 'not_written')),
  written_at timestamptz,
  status text,
  started_at timestamptz,
  ended_at timestamptz,
  executor_instance text,
  executor_attempt integer,
  double_execution boolean NOT NULL DEFAULT false,
  -- Its executor was seen gone and back since, and nothing was heard of it after that.
  suspect_since timestamptz,
  -- While in the future, this delivery takes one of its worker's slots.
  slot_until timestamptz,
  PRIMARY KEY (workload_id, number)
);
CREATE INDEX deliveries_slots ON deliveries (worker_id) WHERE slot_until IS NOT NULL;

-- Evidence, as reported: never changed, also for closed leases and unknown ids.
CREATE TABLE lifecycle_events (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  workload_id text,
  delivery_number integer,
  delivery_id text,
  event_id text,
  status text,
  occurred_at text,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  worker_id text NOT NULL,
  -- Of the worker that reported it.
  pool_id text NOT NULL,
  effect text NOT NULL,
  note text,
  -- The rest of the record as JSON text.
  record text NOT NULL
);
-- By pool, so that nobody can take the event ids of another pool's executors.
CREATE UNIQUE INDEX lifecycle_once ON lifecycle_events (delivery_id, event_id, pool_id) WHERE workload_id IS NOT NULL;
CREATE INDEX lifecycle_by_workload ON lifecycle_events (workload_id, seq) WHERE workload_id IS NOT NULL;
CREATE INDEX lifecycle_strangers_by_age ON lifecycle_events (received_at) WHERE workload_id IS NULL;
CREATE INDEX lifecycle_strangers ON lifecycle_events (worker_id, received_at) WHERE workload_id IS NULL;

-- What happened, append-only. A workload's timeline is its rows here, in order.
CREATE TABLE audit (
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text,
  workload_id text,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  type text NOT NULL,
  actor text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX audit_by_workload ON audit (workload_id, seq) WHERE workload_id IS NOT NULL;
CREATE INDEX audit_by_tenant ON audit (tenant_id, seq);

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit is append-only';
END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_is_never_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE TABLE idempotency_keys (
  tenant_id text NOT NULL,
  route text NOT NULL,
  key text NOT NULL,
  body_hash bytea NOT NULL,
  status integer,
  answer text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, route, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

INSERT INTO tenants (tenant_id) VALUES ('default');
INSERT INTO pools (pool_id) VALUES ('default');
