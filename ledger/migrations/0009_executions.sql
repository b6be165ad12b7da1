-- Commands: what is to be run, how each run ended, and what it printed.

-- The rule's `run` block with its templates filled in, JSON text; NULL when the executor runs no command.
ALTER TABLE decisions ADD COLUMN run text;

ALTER TABLE deliveries
  -- What the backend's target told of itself (an execution handle), JSON text; NULL until it did.
  ADD COLUMN target text,
  -- The execution envelope, JSON text; NULL while it runs and for executors that leave none.
  ADD COLUMN execution text,
  -- Hash of the lease token that told of its end, so that a repeat is known; NULL until then.
  ADD COLUMN finished_by bytea,
  -- When the runner called to say that its job is done.
  ADD COLUMN runner_done_at timestamptz;

-- What the worker offers to do; NULL: it was never said, which means OpenCrow.
ALTER TABLE workers ADD COLUMN executors text[];

-- For leases that nobody renewed.
CREATE INDEX leases_run_out ON leases (expires_at) WHERE closed_at IS NULL AND delivery IS NOT NULL;

-- What a delivery left, one row a file. The bytes are in the artifact store, at <workload_id>/<delivery>/<name>.
CREATE TABLE artifacts (
  workload_id text NOT NULL REFERENCES workloads,
  delivery integer NOT NULL,
  name text NOT NULL,
  media_type text NOT NULL,
  -- Bytes in the store so far.
  size bigint NOT NULL DEFAULT 0,
  -- Lower-case hex, of the whole file; NULL until it is complete.
  sha256 text,
  -- All that was printed is there and its digest is what the worker counted. NULL while it is still being written.
  complete boolean,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When the bytes were deleted; the row stays.
  deleted_at timestamptz,
  PRIMARY KEY (workload_id, delivery, name)
);
CREATE INDEX artifacts_by_age ON artifacts (created_at) WHERE deleted_at IS NULL;
