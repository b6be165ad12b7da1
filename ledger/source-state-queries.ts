import type { JsonValue } from '../contracts/events';
import type { StateDocument, StateSummary, StateVersion } from '../contracts/source-state';
import type { Queryable } from './database';
import type { StateName } from './source-state';

interface VersionRow {
  version: string;
  value: string | null;
  updated_at: Date;
  updated_by: string;
}

const identity = ({ tenantId, source, key }: StateName): string[] => [tenantId, source, key];
const parsed = (text: string): JsonValue => JSON.parse(text) as JsonValue;

/** A key and its value; null when it does not exist. */
export async function stateOf(db: Queryable, name: StateName): Promise<StateDocument | null> {
  const [row] = await db.query<VersionRow>(
    `SELECT s.version, v.value, s.updated_at FROM source_states s JOIN source_state_versions v USING (tenant_id, source, key, version)
     WHERE s.tenant_id = $1 AND s.source = $2 AND s.key = $3 AND NOT s.deleted`,
    identity(name),
  );
  if (!row) return null;
  const { source, key } = name;
  const updated_at = row.updated_at.toISOString();
  return { source, key, version: Number(row.version), value: parsed(row.value!), updated_at };
}

/** The versions of a key that are kept, newest first, its deletions included; none when nothing is known of it. */
export async function stateVersionsOf(db: Queryable, name: StateName): Promise<StateVersion[]> {
  const rows = await db.query<VersionRow>(
    `SELECT version, value, updated_at, updated_by FROM source_state_versions
     WHERE tenant_id = $1 AND source = $2 AND key = $3 ORDER BY version DESC`,
    identity(name),
  );
  return rows.map(({ version, value, updated_at, updated_by }) => ({
    version: Number(version),
    deleted: value === null,
    ...(value !== null && { value: parsed(value) }),
    updated_at: updated_at.toISOString(),
    updated_by,
  }));
}

/** Keys of a source in the order of their code points, without their values; those after `after`. */
export async function listStates(
  db: Queryable,
  { tenantId, source }: Omit<StateName, 'key'>,
  { prefix, after, limit }: { prefix: string; after: string | null; limit: number },
): Promise<StateSummary[]> {
  const rows = await db.query<{ key: string; version: string; bytes: number; updated_at: Date }>(
    `SELECT key, version, bytes, updated_at FROM source_states
     WHERE tenant_id = $1 AND source = $2 AND NOT deleted AND key >= $3 AND starts_with(key, $3)
       AND ($4::text IS NULL OR key > $4) ORDER BY key LIMIT $5`,
    [tenantId, source, prefix, after, limit],
  );
  return rows.map(({ key, version, bytes, updated_at }) => ({
    source,
    key,
    version: Number(version),
    bytes,
    updated_at: updated_at.toISOString(),
  }));
}

/**
 * Forgets keys that were deleted at least `days` ago, at most `limit`. What comes anew under their names gets versions that
 * were never used. Returns how many.
 */
export async function forgetDeletedStates(db: Queryable, days: number, limit: number): Promise<number> {
  const rows = await db.query(
    `WITH gone AS MATERIALIZED (
       SELECT s.tenant_id, s.source, s.key, s.version
       FROM source_states s JOIN source_state_sources f USING (tenant_id, source)
       WHERE s.deleted AND s.updated_at < clock_timestamp() - $1::float8 * interval '1 day'
       ORDER BY s.updated_at LIMIT $2 FOR UPDATE OF f, s SKIP LOCKED
     ), floors AS (
       UPDATE source_state_sources f SET version_floor = greatest(f.version_floor, g.version)
       FROM (SELECT tenant_id, source, max(version) AS version FROM gone GROUP BY tenant_id, source) g
       WHERE f.tenant_id = g.tenant_id AND f.source = g.source
     )
     DELETE FROM source_states s USING gone g
     WHERE s.tenant_id = g.tenant_id AND s.source = g.source AND s.key = g.key RETURNING 1`,
    [days, limit],
  );
  return rows.length;
}
