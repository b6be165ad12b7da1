-- Hash chains over the audit: one for each tenant, and one, named '-', for rows without a tenant. docs/audit.md says how
-- a row is hashed.

-- The transaction that wrote the row. Numbers of another server (a restored dump) say nothing here: see audit_settled().
ALTER TABLE audit ADD COLUMN xact xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX audit_by_xact ON audit (xact, seq);

-- For GET /api/audit.
CREATE INDEX audit_by_time ON audit (tenant_id, at, seq);
CREATE INDEX audit_by_type ON audit (tenant_id, type COLLATE "C", at, seq);
CREATE INDEX audit_by_actor ON audit (tenant_id, actor, at, seq);

-- The place of an audit row in its chain. Positions have no gaps; their order is that of sealing, since a row with a lower
-- seq may be committed later.
CREATE TABLE audit_seals (
  chain text NOT NULL,
  position bigint NOT NULL CHECK (position > 0),
  seq bigint NOT NULL UNIQUE,
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (chain, position)
);

-- Segments of chains that are in files now, and no longer in audit and audit_seals.
CREATE TABLE audit_archives (
  chain text NOT NULL,
  first_position bigint NOT NULL,
  last_position bigint NOT NULL CHECK (last_position >= first_position),
  -- What the first row's hash was made with, and the last row's hash: the chain goes on from there.
  prev_hash bytea NOT NULL CHECK (length(prev_hash) = 32),
  last_hash bytea NOT NULL CHECK (length(last_hash) = 32),
  file text NOT NULL,
  file_sha256 bytea NOT NULL,
  archived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (chain, first_position)
);

-- Where the sealer need not look again: every row of a transaction below `settled` is sealed, or never came to be.
CREATE TABLE audit_sealer (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  -- The server whose transactions are meant.
  cluster text,
  settled xid8 NOT NULL DEFAULT '0'
);
INSERT INTO audit_sealer DEFAULT VALUES;

-- On another server than the one it was noted on, `settled` means nothing and all rows are looked at again.
CREATE FUNCTION audit_settled() RETURNS xid8 LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN cluster = (SELECT system_identifier::text FROM pg_control_system())
      AND settled <= pg_snapshot_xmax(pg_current_snapshot()) THEN settled
    ELSE '0'::xid8 END
  FROM audit_sealer
$$;

-- Rows may go only when their segment is in a file, as audit_archives has it.
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit' THEN
    PERFORM 1 FROM audit_seals s WHERE s.seq = OLD.seq
      AND s.position <= (SELECT max(last_position) FROM audit_archives r WHERE r.chain = s.chain);
    IF FOUND THEN RETURN OLD; END IF;
  END IF;
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'audit_seals' THEN
    PERFORM 1 WHERE OLD.position <= (SELECT max(last_position) FROM audit_archives r WHERE r.chain = OLD.chain)
      AND NOT EXISTS (SELECT 1 FROM audit a WHERE a.seq = OLD.seq);
    IF FOUND THEN RETURN OLD; END IF;
  END IF;
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER audit_seals_append_only BEFORE UPDATE OR DELETE ON audit_seals
  FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_seals_are_never_emptied BEFORE TRUNCATE ON audit_seals
  FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_archives_append_only BEFORE UPDATE OR DELETE ON audit_archives
  FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_archives_are_never_emptied BEFORE TRUNCATE ON audit_archives
  FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- A segment begins where the one before it ends, and ends with a hash that was sealed.
CREATE FUNCTION audit_archive_continues() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  last audit_archives;
BEGIN
  SELECT * INTO last FROM audit_archives WHERE chain = NEW.chain ORDER BY last_position DESC LIMIT 1;
  IF NEW.first_position <> coalesce(last.last_position, 0) + 1
    OR NEW.prev_hash <> coalesce(last.last_hash, decode(repeat('00', 32), 'hex'))
    OR NEW.last_hash IS DISTINCT FROM
      (SELECT hash FROM audit_seals WHERE chain = NEW.chain AND position = NEW.last_position) THEN
    RAISE EXCEPTION 'this segment does not continue the archive of its chain';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER audit_archives_continue BEFORE INSERT ON audit_archives
  FOR EACH ROW EXECUTE FUNCTION audit_archive_continues();

-- Removes rows that are in archive files, at most max_rows of them; says how many.
CREATE FUNCTION audit_remove_archived(of_chain text, max_rows integer) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
  gone bigint[];
BEGIN
  SELECT array_agg(seq) INTO gone FROM (
    SELECT seq FROM audit_seals
    WHERE chain = of_chain AND position <= (SELECT max(last_position) FROM audit_archives WHERE chain = of_chain)
    ORDER BY position LIMIT max_rows FOR UPDATE
  ) archived;
  DELETE FROM audit WHERE seq = ANY (gone);
  DELETE FROM audit_seals WHERE seq = ANY (gone);
  RETURN coalesce(array_length(gone, 1), 0);
END $$;
