-- Quotas of tenants and pools, what is used of them, and tenants whose entitlement has lapsed.

ALTER TABLE tenants ADD COLUMN entitlement text NOT NULL DEFAULT 'active' CHECK (entitlement IN ('active', 'lapsed'));

-- Limits that somebody set. A row is also the lock under which its use is read, judged and changed.
CREATE TABLE quotas (
  scope text NOT NULL CHECK (scope IN ('tenant', 'pool')),
  -- The tenant or the pool.
  scope_id text NOT NULL,
  quota text NOT NULL,
  max bigint NOT NULL CHECK (max >= 0),
  PRIMARY KEY (scope, scope_id, quota)
);

-- What was used within a window, for quotas that count. The others are read from what there is.
CREATE TABLE quota_use (
  scope text NOT NULL,
  scope_id text NOT NULL,
  quota text NOT NULL,
  window_at timestamptz NOT NULL,
  used bigint NOT NULL,
  PRIMARY KEY (scope, scope_id, quota, window_at)
);
CREATE INDEX quota_use_by_age ON quota_use (window_at);

-- Leases whose minutes are counted: a minute is reserved in the window of the claim, the rest is charged when somebody looks after the end.
CREATE TABLE metered_leases (
  work_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  reserved_in timestamptz NOT NULL
);
CREATE INDEX metered_leases_by_tenant ON metered_leases (tenant_id);

-- When the audit was last told that a tenant was refused something.
CREATE TABLE quota_denials (
  tenant_id text NOT NULL,
  code text NOT NULL,
  noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (tenant_id, code)
);

-- Since when it waits to be handed over: its acceptance, or the last time it was queued. Given back it waits since before.
ALTER TABLE workloads ADD COLUMN waiting_since timestamptz;
ALTER TABLE workloads ALTER COLUMN waiting_since SET DEFAULT clock_timestamp();
UPDATE workloads SET waiting_since =
  coalesce(queued_until - (terms->'deadlines'->>'queued')::float8 * interval '1 millisecond', accepted_at)
WHERE NOT closed;
CREATE INDEX workloads_in_line ON workloads (tenant_id, waiting_since) WHERE state IN ('accepted', 'queued');
CREATE INDEX workloads_in_line_of_pool ON workloads (pool_id, waiting_since) WHERE state = 'queued';
DROP INDEX workloads_queued;
CREATE INDEX leases_held_by_tenant ON leases (tenant_id) WHERE closed_at IS NULL;

-- Begin of the window that a moment lies in; NULL for quotas without windows.
CREATE FUNCTION quota_window(quota text, moment timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
    WHEN quota LIKE '%\_per\_minute' THEN date_bin('1 minute', moment, 'epoch')
    WHEN quota LIKE '%\_per\_hour' THEN date_bin('1 hour', moment, 'epoch')
  END
$$;

-- Where the limits that are set stand now: units, or seconds of `queue_age`. Not counted as held: the lease of `but_of`.
CREATE FUNCTION quota_standings(in_scope text, of_id text, of_quotas text[], but_of text)
RETURNS TABLE (scope text, scope_id text, quota text, max bigint, used bigint, reset_at timestamptz, reset_ms float8)
LANGUAGE sql STABLE AS $$
  SELECT q.scope, q.scope_id, q.quota, q.max,
    (CASE q.quota
      WHEN 'concurrent_work' THEN (
        SELECT count(*) FROM leases l WHERE l.tenant_id = q.scope_id AND l.closed_at IS NULL AND l.expires_at > clock_timestamp()
          AND l.work_id IS DISTINCT FROM but_of)
      WHEN 'queued_work' THEN CASE q.scope
        WHEN 'tenant' THEN (SELECT count(*) FROM workloads w WHERE w.tenant_id = q.scope_id AND w.state IN ('accepted', 'queued'))
        ELSE (SELECT count(*) FROM workloads w WHERE w.pool_id = q.scope_id AND w.state = 'queued') END
      WHEN 'queue_age' THEN coalesce(greatest(0, ceil(extract(epoch FROM clock_timestamp() - CASE q.scope
        WHEN 'tenant' THEN (
          SELECT min(w.waiting_since) FROM workloads w WHERE w.tenant_id = q.scope_id AND w.state IN ('accepted', 'queued'))
        ELSE (SELECT min(w.waiting_since) FROM workloads w WHERE w.pool_id = q.scope_id AND w.state = 'queued') END))), 0)
      ELSE coalesce((
        SELECT u.used FROM quota_use u WHERE u.scope = q.scope AND u.scope_id = q.scope_id AND u.quota = q.quota
          AND u.window_at = clock.window_at), 0)
    END)::bigint,
    clock.reset_at, greatest(0, extract(epoch FROM clock.reset_at - clock.now) * 1000)::float8
  FROM quotas q CROSS JOIN LATERAL (
    SELECT moment.now, quota_window(q.quota, moment.now) AS window_at, quota_window(q.quota, moment.now)
      + CASE WHEN q.quota LIKE '%\_per\_minute' THEN interval '1 minute' ELSE interval '1 hour' END AS reset_at
    FROM (SELECT clock_timestamp() AS now OFFSET 0) moment
  ) clock
  WHERE q.scope = in_scope AND q.scope_id = of_id AND q.quota = ANY(of_quotas)
  ORDER BY q.quota
$$;
