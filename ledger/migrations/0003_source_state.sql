-- Source state: one small document per key of a source, changed by compare-and-set.

-- One row per source that ever had a key. Locked where keys come and go.
CREATE TABLE source_state_sources (
  tenant_id text NOT NULL REFERENCES tenants,
  source text NOT NULL,
  -- Highest version of keys that are forgotten: a key that comes anew begins after it, so that no version is ever used twice.
  version_floor bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, source)
);

CREATE TABLE source_states (
  tenant_id text NOT NULL,
  source text NOT NULL,
  -- By code point, so that a prefix is a range.
  key text COLLATE "C" NOT NULL,
  -- +1 with each change, deletions included.
  version bigint NOT NULL,
  -- A deleted key keeps its row, and with it its version, until it is forgotten.
  deleted boolean NOT NULL,
  bytes integer NOT NULL,
  updated_at timestamptz NOT NULL,
  updated_by text NOT NULL,
  PRIMARY KEY (tenant_id, source, key),
  FOREIGN KEY (tenant_id, source) REFERENCES source_state_sources
);
CREATE INDEX source_states_deleted ON source_states (updated_at) WHERE deleted;

-- The newest versions of each key, the present one included.
CREATE TABLE source_state_versions (
  tenant_id text NOT NULL,
  source text NOT NULL,
  key text COLLATE "C" NOT NULL,
  version bigint NOT NULL,
  -- JSON text; NULL is the key's deletion.
  value text,
  updated_at timestamptz NOT NULL,
  updated_by text NOT NULL,
  PRIMARY KEY (tenant_id, source, key, version),
  FOREIGN KEY (tenant_id, source, key) REFERENCES source_states ON DELETE CASCADE
);
