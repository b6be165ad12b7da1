-- What workers write under their leases. Each kind is one function, so that a fenced write is one round trip: it locks the workload's
-- row, judges the lease by what is there after the wait, and writes. It is a function and not one statement, since a statement sees what
-- was there before the wait. A refusal is an answer and no error: the caller tells it, and records a stale one.

ALTER TABLE deliveries
  -- How managed work ended, by its worker's own word.
  ADD COLUMN run_status text CHECK (run_status IN ('completed', 'failed', 'cancelled')),
  ADD COLUMN run_code text,
  ADD COLUMN run_summary text;

CREATE TABLE work_events (
  workload_id text NOT NULL REFERENCES workloads,
  -- The worker's own; it grows, with or without gaps.
  sequence bigint NOT NULL CHECK (sequence > 0),
  event_id text NOT NULL,
  type text NOT NULL,
  -- JSON.
  payload text NOT NULL,
  content_hash bytea NOT NULL,
  -- Of the workload's events up to this one.
  count_so_far integer NOT NULL,
  bytes_so_far bigint NOT NULL,
  delivery integer NOT NULL,
  epoch bigint NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (workload_id, sequence),
  UNIQUE (workload_id, event_id)
);
CREATE INDEX work_events_by_time ON work_events (recorded_at);

-- What has an id of its own: commands, artifacts, channel deliveries, usage, finalizations of runs.
CREATE TABLE work_records (
  workload_id text NOT NULL REFERENCES workloads,
  kind text NOT NULL CHECK (kind IN ('command', 'artifact', 'delivery', 'usage', 'finalization')),
  record_id text NOT NULL,
  -- Of kinds that have one; `rank` is its place on the way that it goes.
  status text,
  rank integer NOT NULL,
  body jsonb NOT NULL,
  -- Of what may never change, and of all.
  identity_hash bytea NOT NULL,
  content_hash bytea NOT NULL,
  delivery integer NOT NULL,
  epoch bigint NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (workload_id, kind, record_id)
);
CREATE INDEX work_records_by_time ON work_records (recorded_at);

CREATE TABLE work_projections (
  workload_id text PRIMARY KEY REFERENCES workloads,
  sequence bigint NOT NULL CHECK (sequence > 0),
  -- JSON.
  view text NOT NULL,
  content_hash bytea NOT NULL,
  delivery integer NOT NULL,
  epoch bigint NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX work_projections_by_time ON work_projections (recorded_at);

-- The newest few of each workload; objects that no row names are orphans.
CREATE TABLE work_checkpoints (
  workload_id text NOT NULL REFERENCES workloads,
  version bigint NOT NULL CHECK (version > 0),
  schema integer NOT NULL,
  manifest_key text NOT NULL,
  sha256 text NOT NULL,
  size bigint NOT NULL,
  delivery integer NOT NULL,
  epoch bigint NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (workload_id, version)
);
CREATE INDEX work_checkpoints_by_time ON work_checkpoints (recorded_at);

-- Who writes: the workload, the worker with its credential, the hash of the token, and the states of workers that may write.
CREATE TYPE work_writer AS (work_id text, worker_id text, credential_id text, token_hash bytea, writing_states text[]);

-- Locks the workload's row and judges the lease. `refusal` is NULL when the write may go on; else it says `no_work`, `no_worker`, `not_begun`,
-- or why the token is stale.
CREATE FUNCTION fence_work(
  writer work_writer, OUT refusal jsonb, OUT held_epoch bigint, OUT held_delivery integer, OUT held_tenant text
) LANGUAGE plpgsql AS $$
DECLARE
  now_at timestamptz;
  refused text;
BEGIN
  SELECT tenant_id INTO held_tenant FROM workloads WHERE workload_id = writer.work_id FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    refusal := '{"refused": "no_work"}';
    RETURN;
  END IF;
  -- The wait for the row is over only now.
  now_at := clock_timestamp();
  SELECT epoch, delivery,
    CASE WHEN token_hash <> writer.token_hash OR worker_id <> writer.worker_id THEN 'mismatch'
      WHEN closed_at IS NOT NULL THEN 'closed' WHEN expires_at <= now_at THEN 'expired'
      WHEN delivery IS NULL THEN 'not_begun' END
  INTO held_epoch, held_delivery, refused FROM leases WHERE work_id = writer.work_id;
  IF NOT FOUND THEN
    refused := 'unknown';
  END IF;
  PERFORM 1 FROM workers w JOIN worker_credentials c USING (worker_id)
  WHERE w.worker_id = writer.worker_id AND c.credential_id = writer.credential_id AND w.status = ANY (writer.writing_states)
    AND c.revoked_at IS NULL AND c.expires_at > now_at;
  IF NOT FOUND THEN
    refused := 'no_worker';
  END IF;
  IF refused IS NOT NULL THEN
    refusal := jsonb_build_object('refused', refused, 'epoch', held_epoch, 'delivery', held_delivery);
    RETURN;
  END IF;
  UPDATE leases SET last_heartbeat_at = now_at
  WHERE work_id = writer.work_id AND coalesce(last_heartbeat_at, '-infinity') < now_at - interval '1 second';
END $$;

-- Objects are named here and nowhere else; one epoch's names are out of another's reach.
CREATE FUNCTION work_object_key(tenant text, work_id text, epoch bigint, name text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
  SELECT tenant || '/' || work_id || '/' || epoch || '/' || name
$$;

CREATE FUNCTION write_work_events(
  writer work_writer, ids text[], sequences bigint[], types text[], payloads text[], hashes bytea[], most_events integer, most_bytes bigint
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  fence record;
  clash text;
  newest record;
  added record;
BEGIN
  SELECT * INTO fence FROM fence_work(writer);
  IF fence.refusal IS NOT NULL THEN
    RETURN fence.refusal;
  END IF;
  SELECT e.event_id INTO clash FROM unnest(ids, hashes) AS n (event_id, hash)
  JOIN work_events e ON e.workload_id = writer.work_id AND e.event_id = n.event_id WHERE e.content_hash <> n.hash LIMIT 1;
  IF FOUND THEN
    RETURN jsonb_build_object('refused', 'content_mismatch', 'extra', jsonb_build_object('event_id', clash));
  END IF;
  SELECT coalesce(max(sequence), 0) AS sequence, coalesce(max(count_so_far), 0) AS events, coalesce(max(bytes_so_far), 0) AS bytes INTO newest
  FROM (SELECT * FROM work_events WHERE workload_id = writer.work_id ORDER BY sequence DESC LIMIT 1) one;
  SELECT min(n.sequence) AS first, count(*) AS events, coalesce(sum(octet_length(n.payload)), 0) AS bytes INTO added
  FROM unnest(ids, sequences, payloads) AS n (event_id, sequence, payload)
  WHERE NOT EXISTS (SELECT 1 FROM work_events e WHERE e.workload_id = writer.work_id AND e.event_id = n.event_id);
  IF added.first <= newest.sequence THEN
    RETURN jsonb_build_object('refused', 'not_monotonic', 'extra', jsonb_build_object('last_sequence', newest.sequence));
  END IF;
  IF newest.events + added.events > most_events OR newest.bytes + added.bytes > most_bytes THEN
    RETURN jsonb_build_object('refused', 'limit', 'extra', jsonb_build_object('limit', most_events, 'used', newest.events,
      'limit_bytes', most_bytes, 'used_bytes', newest.bytes));
  END IF;
  INSERT INTO work_events (workload_id, sequence, event_id, type, payload, content_hash, count_so_far, bytes_so_far, delivery, epoch)
  SELECT writer.work_id, n.sequence, n.event_id, n.type, n.payload, n.hash, newest.events + row_number() OVER up_to_here,
    newest.bytes + sum(octet_length(n.payload)) OVER up_to_here, fence.held_delivery, fence.held_epoch
  FROM unnest(ids, sequences, types, payloads, hashes) AS n (event_id, sequence, type, payload, hash)
  WHERE NOT EXISTS (SELECT 1 FROM work_events e WHERE e.workload_id = writer.work_id AND e.event_id = n.event_id)
  WINDOW up_to_here AS (ORDER BY n.sequence);
  RETURN (
    SELECT jsonb_build_object('written', jsonb_agg(jsonb_build_object(
      'event_id', event_id, 'sequence', sequence, 'recorded_at', recorded_at) ORDER BY sequence))
    FROM work_events WHERE workload_id = writer.work_id AND event_id = ANY (ids));
END $$;

-- One thing with an id. What is known of it with the same content is answered as before; its status only goes on. With `object_name` it is
-- given an object key.
CREATE FUNCTION write_work_record(
  writer work_writer, asked_kind text, asked_id text, asked_status text, asked_rank integer, asked_body jsonb,
  asked_identity bytea, asked_content bytea, object_name text, most integer
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  fence record;
  kept work_records%ROWTYPE;
  used integer;
BEGIN
  SELECT * INTO fence FROM fence_work(writer);
  IF fence.refusal IS NOT NULL THEN
    RETURN fence.refusal;
  END IF;
  SELECT * INTO kept FROM work_records WHERE workload_id = writer.work_id AND kind = asked_kind AND record_id = asked_id;
  IF NOT FOUND THEN
    SELECT count(*) INTO used FROM work_records WHERE workload_id = writer.work_id AND kind = asked_kind;
    IF used >= most THEN
      RETURN jsonb_build_object('refused', 'limit', 'extra', jsonb_build_object('limit', most, 'used', used));
    END IF;
    INSERT INTO work_records (workload_id, kind, record_id, status, rank, body, identity_hash, content_hash, delivery, epoch)
    VALUES (writer.work_id, asked_kind, asked_id, asked_status, asked_rank,
      CASE WHEN object_name IS NULL THEN asked_body ELSE asked_body || jsonb_build_object(
        'object_key', work_object_key(fence.held_tenant, writer.work_id, fence.held_epoch, object_name)) END,
      asked_identity, asked_content, fence.held_delivery, fence.held_epoch)
    RETURNING * INTO kept;
  ELSIF kept.identity_hash <> asked_identity OR (kept.rank = asked_rank AND kept.status = asked_status AND kept.content_hash <> asked_content) THEN
    RETURN jsonb_build_object('refused', 'content_mismatch', 'extra', jsonb_build_object('id', asked_id));
  ELSIF kept.content_hash <> asked_content THEN
    IF asked_rank <= kept.rank THEN
      RETURN jsonb_build_object('refused', 'status_passed', 'extra', jsonb_build_object('id', asked_id, 'kept_status', kept.status));
    END IF;
    UPDATE work_records SET status = asked_status, rank = asked_rank, body = asked_body, content_hash = asked_content,
      delivery = fence.held_delivery, epoch = fence.held_epoch, updated_at = clock_timestamp()
    WHERE workload_id = writer.work_id AND kind = asked_kind AND record_id = asked_id RETURNING * INTO kept;
  END IF;
  RETURN jsonb_build_object('written', kept.body || jsonb_strip_nulls(jsonb_build_object('status', kept.status)) || jsonb_build_object(
    'recorded_at', kept.recorded_at, 'updated_at', kept.updated_at));
END $$;

CREATE FUNCTION write_work_projection(
  writer work_writer, asked_sequence bigint, asked_view text, asked_content bytea
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  fence record;
  kept work_projections%ROWTYPE;
BEGIN
  SELECT * INTO fence FROM fence_work(writer);
  IF fence.refusal IS NOT NULL THEN
    RETURN fence.refusal;
  END IF;
  SELECT * INTO kept FROM work_projections WHERE workload_id = writer.work_id;
  IF kept.sequence > asked_sequence THEN
    RETURN jsonb_build_object('refused', 'not_monotonic', 'extra', jsonb_build_object('last_sequence', kept.sequence));
  ELSIF kept.sequence = asked_sequence AND kept.content_hash <> asked_content THEN
    RETURN jsonb_build_object('refused', 'content_mismatch', 'extra', jsonb_build_object('sequence', asked_sequence));
  ELSIF kept.sequence IS DISTINCT FROM asked_sequence THEN
    INSERT INTO work_projections AS p (workload_id, sequence, view, content_hash, delivery, epoch)
    VALUES (writer.work_id, asked_sequence, asked_view, asked_content, fence.held_delivery, fence.held_epoch)
    ON CONFLICT (workload_id) DO UPDATE SET sequence = excluded.sequence, view = excluded.view, content_hash = excluded.content_hash,
      delivery = excluded.delivery, epoch = excluded.epoch, recorded_at = excluded.recorded_at
    RETURNING * INTO kept;
  END IF;
  RETURN jsonb_build_object('written', jsonb_build_object('sequence', kept.sequence, 'recorded_at', kept.recorded_at));
END $$;

CREATE FUNCTION write_work_checkpoint(
  writer work_writer, asked_version bigint, asked_schema integer, asked_sha256 text, asked_size bigint, most integer
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
  fence record;
  kept work_checkpoints%ROWTYPE;
BEGIN
  SELECT * INTO fence FROM fence_work(writer);
  IF fence.refusal IS NOT NULL THEN
    RETURN fence.refusal;
  END IF;
  SELECT * INTO kept FROM work_checkpoints WHERE workload_id = writer.work_id ORDER BY version DESC LIMIT 1;
  IF (kept.version, kept.schema, kept.sha256, kept.size) IS DISTINCT FROM (asked_version, asked_schema, asked_sha256, asked_size) THEN
    IF asked_version <> coalesce(kept.version, 0) + 1 THEN
      RETURN jsonb_build_object('refused', 'version_stale', 'extra', jsonb_build_object('current_version', coalesce(kept.version, 0)));
    END IF;
    INSERT INTO work_checkpoints (workload_id, version, schema, manifest_key, sha256, size, delivery, epoch)
    VALUES (writer.work_id, asked_version, asked_schema,
      work_object_key(fence.held_tenant, writer.work_id, fence.held_epoch, 'checkpoints/' || asked_version || '/manifest.json'),
      asked_sha256, asked_size, fence.held_delivery, fence.held_epoch)
    RETURNING * INTO kept;
    DELETE FROM work_checkpoints WHERE workload_id = writer.work_id AND version <= asked_version - most;
    UPDATE leases SET checkpoint_version = asked_version WHERE work_id = writer.work_id;
    UPDATE workloads SET checkpoint_schema = asked_schema
    WHERE workload_id = writer.work_id AND checkpoint_schema IS DISTINCT FROM asked_schema;
  END IF;
  RETURN jsonb_build_object('written', jsonb_build_object('version', kept.version, 'schema', kept.schema, 'manifest_key', kept.manifest_key,
    'sha256', kept.sha256, 'size', kept.size, 'recorded_at', kept.recorded_at));
END $$;
