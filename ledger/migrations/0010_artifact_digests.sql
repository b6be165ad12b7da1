-- What the worker counted of an artifact, told with the end of its command. From then on nothing is appended. NULL: not told.
ALTER TABLE artifacts
  ADD COLUMN printed_size bigint,
  ADD COLUMN printed_sha256 text;

-- Those whose digest is still to be compared.
CREATE INDEX artifacts_to_check ON artifacts (created_at) WHERE printed_sha256 IS NOT NULL AND complete IS NULL;
