import type { JsonValue } from '../contracts/events';
import { Problem } from '../contracts/problems';
import { KEPT_STATE_VERSIONS, MAX_STATE_KEYS } from '../contracts/source-state';
import type { Queryable } from './database';

/** Which state. */
export interface StateName {
  tenantId: string;
  source: string;
  key: string;
}

/** What must be true of a key before it is changed: it has this version, it exists, it does not, or nothing. */
export type StateCondition = { version: number } | 'exists' | 'absent' | 'any';

/** A change that was made. */
export interface StateChange {
  version: number;
  updatedAt: Date;
}

/** The present row of a key, locked. */
interface StateRow {
  version: string;
  deleted: boolean;
}

/** A key that is locked, and with it all that may follow. */
export interface LockedState {
  name: StateName;
  /** Null when the key does not exist, be it deleted or never there. */
  version: number | null;
  /** The version that a change gets. */
  next: number;
}

const identity = ({ tenantId, source, key }: StateName): string[] => [tenantId, source, key];

/**
 * Locks a key against other changes until the end of the transaction. Where a key may come into being its source is locked
 * first, as it is where keys are forgotten, so that versions and the number of keys are certain.
 */
export async function lockState(tx: Queryable, name: StateName): Promise<LockedState> {
  const [live] = await tx.query(
    'SELECT 1 FROM source_states WHERE tenant_id = $1 AND source = $2 AND key = $3 AND NOT deleted',
    identity(name),
  );
  let floor = live ? null : await lockSource(tx, name);
  let row = await lockRow(tx, name);
  if (floor === null && row?.deleted !== false) {
    // Deleted since the first look. Whoever waits for its row with the source locked makes a deadlock, which is retried.
    floor = await lockSource(tx, name);
    row = await lockRow(tx, name);
  }
  return {
    name,
    version: row && !row.deleted ? Number(row.version) : null,
    next: Number(row?.version ?? floor) + 1,
  };
}

async function lockRow(tx: Queryable, name: StateName): Promise<StateRow | null> {
  const [row] = await tx.query<StateRow>(
    'SELECT version, deleted FROM source_states WHERE tenant_id = $1 AND source = $2 AND key = $3 FOR UPDATE',
    identity(name),
  );
  return row ?? null;
}

async function lockSource(tx: Queryable, { tenantId, source }: StateName): Promise<number> {
  await tx.query('INSERT INTO source_state_sources (tenant_id, source) VALUES ($1, $2) ON CONFLICT DO NOTHING', [
    tenantId,
    source,
  ]);
  const [row] = await tx.query<{ version_floor: string }>(
    'SELECT version_floor FROM source_state_sources WHERE tenant_id = $1 AND source = $2 FOR UPDATE',
    [tenantId, source],
  );
  return Number(row!.version_floor);
}

/** Whether a locked key is as a change wants it. */
export function meets({ version }: LockedState, condition: StateCondition): boolean {
  if (condition === 'any') return true;
  if (condition === 'exists') return version !== null;
  return condition === 'absent' ? version === null : version === condition.version;
}

/** The problem of a change whose condition is not met: nothing was changed, and this is where the key is now. */
export const preconditionFailed = ({ version }: LockedState): Problem =>
  new Problem(
    'state.precondition_failed',
    `Nothing was changed: the key ${version === null ? 'does not exist' : `is at version ${version}`}.`,
    { extra: { current_version: version } },
  );

const WRITE = `
WITH head AS (
  INSERT INTO source_states AS held (tenant_id, source, key, version, deleted, bytes, updated_at, updated_by)
  VALUES ($1, $2, $3, $4, $5::text IS NULL, coalesce(octet_length($5), 0), clock_timestamp(), $6)
  ON CONFLICT (tenant_id, source, key) DO UPDATE SET version = excluded.version, deleted = excluded.deleted,
    bytes = excluded.bytes, updated_at = excluded.updated_at, updated_by = excluded.updated_by
  RETURNING updated_at
), version AS (
  INSERT INTO source_state_versions (tenant_id, source, key, version, value, updated_at, updated_by)
  SELECT $1, $2, $3, $4, $5, updated_at, $6 FROM head
), old AS (
  DELETE FROM source_state_versions WHERE tenant_id = $1 AND source = $2 AND key = $3 AND version <= $4::bigint - $7::int
)
INSERT INTO audit (tenant_id, at, type, actor, detail)
SELECT $1, updated_at, 'source_state.changed', $6,
  jsonb_build_object('source', $2::text, 'key', $3::text, 'version', $4::bigint, 'deleted', $5::text IS NULL)
FROM head RETURNING at AS updated_at`;

/**
 * Changes a locked key; `undefined` deletes it. The audit tells who, which version and never the value. Only so many keys may
 * exist in a source: one more is `state.too_many_keys`.
 */
export async function writeState(
  tx: Queryable,
  { name, version, next }: LockedState,
  value: JsonValue | undefined,
  actor: string,
): Promise<StateChange> {
  if (version === null && value !== undefined) await requireRoom(tx, name);
  const text = value === undefined ? null : JSON.stringify(value);
  const [written] = await tx.query<{ updated_at: Date }>(WRITE, [
    ...identity(name),
    next,
    text,
    actor,
    KEPT_STATE_VERSIONS,
  ]);
  return { version: next, updatedAt: written!.updated_at };
}

async function requireRoom(tx: Queryable, { tenantId, source }: StateName): Promise<void> {
  const [row] = await tx.query<{ count: number }>(
    'SELECT count(*)::int AS count FROM source_states WHERE tenant_id = $1 AND source = $2 AND NOT deleted',
    [tenantId, source],
  );
  if (row!.count < MAX_STATE_KEYS) return;
  throw new Problem('state.too_many_keys', `A source has at most ${MAX_STATE_KEYS} keys; delete those not needed.`);
}
