-- What is told to others: callbacks of events, subscriptions, signed webhooks in both directions. No signing secret is stored:
-- they follow from the service's signing key, these ids and the version beside them.

-- How many ends (or other told states) a workload has had: the order of its news.
ALTER TABLE workloads ADD COLUMN news_seq integer NOT NULL DEFAULT 0;

-- Where the posters of an event want to be told of its workload's end.
CREATE TABLE callbacks (
  callback_id text PRIMARY KEY,
  workload_id text NOT NULL REFERENCES workloads,
  tenant_id text NOT NULL,
  -- A secret: whoever knows it may resume the poster's work.
  url text NOT NULL,
  url_hash bytea NOT NULL,
  host text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Set when its receiver said that it is gone for good.
  closed_at timestamptz,
  UNIQUE (workload_id, url_hash)
);
CREATE INDEX callbacks_by_age ON callbacks (created_at);

CREATE TABLE subscriptions (
  subscription_id text PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenants,
  url text NOT NULL,
  url_hash bytea NOT NULL,
  -- Of url and filters: the same wish is the same subscription.
  wish_hash bytea NOT NULL,
  host text NOT NULL,
  states text[] NOT NULL,
  -- NULL: all.
  sources text[],
  rules text[],
  secret_version integer NOT NULL DEFAULT 1,
  rotated_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Set when its receiver said that it is gone for good.
  disabled_at timestamptz,
  UNIQUE (tenant_id, wish_hash)
);

-- One message for one target about one change, written with the change. The body never changes, so that repeats are alike.
CREATE TABLE webhook_messages (
  message_id text PRIMARY KEY,
  tenant_id text NOT NULL,
  workload_id text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('callback', 'subscription')),
  target_id text NOT NULL,
  host text NOT NULL,
  type text NOT NULL,
  sequence integer NOT NULL,
  body text NOT NULL,
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'delivered', 'gone', 'gave_up', 'withdrawn')),
  attempts integer NOT NULL DEFAULT 0,
  -- HTTP status of the last answer; NULL when there was none.
  last_status integer,
  -- Code of what went wrong last; NULL when nothing did.
  last_error text,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- While it is being sent, the time at which it is taken for abandoned.
  next_attempt_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ended_at timestamptz
);
CREATE INDEX webhook_messages_due ON webhook_messages (host, next_attempt_at) WHERE state = 'pending';
CREATE INDEX webhook_messages_by_workload ON webhook_messages (workload_id, created_at);
CREATE INDEX webhook_messages_by_target ON webhook_messages (target_id) WHERE state = 'pending';
CREATE INDEX webhook_messages_ended ON webhook_messages (ended_at) WHERE state <> 'pending';

-- Version of the secret that signs a tenant's callbacks; 1 when there is no row.
CREATE TABLE callback_secrets (
  tenant_id text PRIMARY KEY REFERENCES tenants,
  secret_version integer NOT NULL,
  rotated_at timestamptz NOT NULL
);

-- Where a source without a token may post events that it signs.
CREATE TABLE webhook_endpoints (
  endpoint_id text PRIMARY KEY,
  tenant_id text NOT NULL REFERENCES tenants,
  source text NOT NULL,
  secret_version integer NOT NULL DEFAULT 1,
  rotated_at timestamptz,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  closed_at timestamptz
);
CREATE UNIQUE INDEX webhook_endpoints_open ON webhook_endpoints (tenant_id, source) WHERE closed_at IS NULL;
