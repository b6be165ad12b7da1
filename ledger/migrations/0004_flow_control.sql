-- Flow control: workloads that wait for their turn, and whom a workload stands for.

ALTER TABLE workloads
  -- The lanes it has to pass (domain LaneSpec), in order; NULL when its rule limits nothing.
  ADD COLUMN lanes jsonb,
  -- The gate it waits at; NULL when it may be offered.
  ADD COLUMN waiting_for text,
  -- When that gate opens by itself, if it is a matter of time.
  ADD COLUMN opens_at timestamptz;

-- One row per workload and lane it has to pass. A lane is locked (advisory, by its hash) before rows of workloads in it.
CREATE TABLE lane_places (
  -- Taken under the lane's lock: the order of a lane is the order of admission.
  seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  -- SHA-256 over tenant, gate, rule and key.
  lane bytea NOT NULL,
  gate text NOT NULL,
  workload_id text NOT NULL REFERENCES workloads,
  -- held: not approved yet. later: an earlier gate comes first. waiting: in line. open: let through. left: to be cleared away.
  state text NOT NULL CHECK (state IN ('held', 'later', 'waiting', 'open', 'left')),
  mode text,
  capacity integer NOT NULL,
  period_ms bigint,
  max_wait_ms bigint,
  entered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When the burst began that this one is the newest of.
  burst_at timestamptz,
  opened_at timestamptz,
  -- Somebody has to look at the lane then; NULL when nothing happens by itself.
  look_at timestamptz
);
CREATE INDEX lane_places_in_line ON lane_places (lane, state, seq);
CREATE INDEX lane_places_by_workload ON lane_places (workload_id);
CREATE INDEX lane_places_due ON lane_places (look_at) WHERE look_at IS NOT NULL;

-- A trigger, so that a workload leaves its lanes in the statement that closes it, whatever process and version that is.
CREATE FUNCTION workload_moves_in_lanes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.closed THEN
    UPDATE lane_places SET state = 'left', look_at = clock_timestamp()
    WHERE workload_id = NEW.workload_id AND state <> 'left' AND NOT (gate = 'rate' AND state = 'open');
  ELSE
    UPDATE lane_places SET state = 'waiting', entered_at = clock_timestamp(), look_at = clock_timestamp()
    WHERE workload_id = NEW.workload_id AND state = 'held';
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER workload_moves_in_lanes AFTER UPDATE ON workloads FOR EACH ROW
WHEN (OLD.lanes IS NOT NULL AND ((NEW.closed AND NOT OLD.closed) OR (OLD.state = 'held' AND NEW.state = 'queued')))
EXECUTE FUNCTION workload_moves_in_lanes();

-- Whom a workload stands for: each workload that gave way did so to one other.
CREATE TABLE absorbed (
  workload_id text PRIMARY KEY,
  -- No foreign keys: to check one would wait for whoever is changing that workload.
  absorbed_by text NOT NULL,
  how text NOT NULL CHECK (how IN ('dropped', 'coalesced', 'superseded', 'debounced')),
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX absorbed_by_workload ON absorbed (absorbed_by, at);
