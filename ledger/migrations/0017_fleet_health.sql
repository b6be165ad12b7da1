-- What the fleet's health is judged by.

-- Workers that were enrolled before silence had consequences may stop and start as they did.
UPDATE pools SET auto_recover = true;

-- When refused heartbeats of each code were last told to the audit, so that a worker that repeats one does not fill it.
ALTER TABLE workers ADD COLUMN rejections_noted jsonb NOT NULL DEFAULT '{}';

-- Leases that ended through their worker, each once: it let them run out, or lost its command. Kept for an hour.
CREATE TABLE worker_failures (
  work_id text NOT NULL,
  epoch bigint NOT NULL,
  worker_id text NOT NULL,
  why text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (work_id, epoch)
);
CREATE INDEX worker_failures_by_worker ON worker_failures (worker_id, at);
CREATE INDEX worker_failures_by_time ON worker_failures (at);

-- Since when heartbeats could be received without a break, and when that was last seen: silence while the api or the ledger was
-- away is no worker's fault.
CREATE TABLE fleet_watch (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  since timestamptz NOT NULL,
  seen_at timestamptz NOT NULL
);
CREATE INDEX leases_ran_out_unnoted ON leases (expires_at) WHERE closed_at IS NULL;
