-- A past event that was posted again, as an event and a workload of its own.
CREATE TABLE replays (
  workload_id text PRIMARY KEY REFERENCES workloads,
  replay_of text NOT NULL REFERENCES workloads,
  reason text NOT NULL,
  actor text NOT NULL,
  -- It may go on though another workload holds its dedupe key.
  bypass_dedupe boolean NOT NULL,
  -- The workload that held the key when it went on without it.
  bypassed_holder text,
  replayed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX replays_of ON replays (replay_of, replayed_at);
