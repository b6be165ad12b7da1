import { MAX_ARTIFACT_BYTES, OUTPUT_STREAMS, type ArtifactRecord, type OutputStream } from '../contracts/artifacts';
import { Problem } from '../contracts/problems';
import type { WorkloadState } from '../contracts/terminology';
import type { FinishRequest } from '../contracts/worker-protocol';
import type { Database, Queryable } from './database';
import { fenced, type FencedWrite } from './fenced-write';

/** Which file of which delivery. */
export interface ArtifactKey {
  workloadId: string;
  delivery: number;
  name: string;
}

/** A piece of output, and where in its stream it begins. */
export interface OutputPiece {
  stream: OutputStream;
  offset: number;
  length: number;
}

/** What is kept of a stream now. */
export interface OutputKept extends ArtifactKey {
  size: number;
}

interface KeptRow {
  size: string;
  sealed: boolean;
}

/**
 * Appends a piece of what a delivery's command prints, under its lease or, after a cancel or its end, the lease that this closed. `put` writes
 * the bytes; the recorded size is the truth of what is kept, so bytes behind it, of a process that died between both, are none. A row is
 * committed before its file can appear. What begins below the size changes nothing, above it is `artifacts.offset_ahead`.
 */
export async function appendOutput(
  db: Database,
  write: FencedWrite,
  { stream, offset, length }: OutputPiece,
  put: (key: ArtifactKey) => Promise<void>,
): Promise<OutputKept> {
  for (;;) {
    const kept = await fenced(
      db,
      write,
      'output',
      async (tx, row, lease): Promise<OutputKept | 'new'> => {
        if (lease.delivery === null) {
          throw new Problem('workload.state_conflict', 'No intent is recorded under this lease.');
        }
        const key = { workloadId: row.workload_id, delivery: lease.delivery, name: stream };
        const at = [key.workloadId, key.delivery, key.name] as const;
        const [artifact] = await tx.query<KeptRow>(
          `SELECT size, printed_sha256 IS NOT NULL OR deleted_at IS NOT NULL AS sealed FROM artifacts
           WHERE workload_id = $1 AND delivery = $2 AND name = $3`,
          at,
        );
        if (!artifact) {
          await tx.query(
            `INSERT INTO artifacts (workload_id, delivery, name, media_type) VALUES ($1, $2, $3, 'application/octet-stream')`,
            at,
          );
          return 'new';
        }
        const size = Number(artifact.size);
        if (offset > size) {
          throw new Problem('artifacts.offset_ahead', `Only ${size} bytes are kept.`, { extra: { size } });
        }
        if (offset < size || length === 0) return { ...key, size };
        if (artifact.sealed) throw new Problem('workload.state_conflict', 'The end of the command is recorded.');
        if (size + length > MAX_ARTIFACT_BYTES) {
          throw new Problem('artifacts.too_large', `No more than ${MAX_ARTIFACT_BYTES} bytes of a stream are kept.`);
        }
        await put(key);
        await tx.query('UPDATE artifacts SET size = $4 WHERE workload_id = $1 AND delivery = $2 AND name = $3', [
          ...at,
          size + length,
        ]);
        return { ...key, size: size + length };
      },
      'concluded',
    );
    if (kept !== 'new') return kept;
  }
}

/**
 * Records what the worker counted of what its command printed; nothing is appended after it. To be called in the transaction that
 * records the end. What is not kept as a whole is told so at once; digests are compared by {@link artifactsToCheck}.
 */
export async function completeArtifacts(
  tx: Queryable,
  workloadId: string,
  delivery: number,
  output: FinishRequest['output'],
): Promise<void> {
  for (const stream of OUTPUT_STREAMS) {
    const printed = output?.[stream];
    if (!printed) continue;
    await tx.query(
      `INSERT INTO artifacts AS a (workload_id, delivery, name, media_type, printed_size, printed_sha256, complete)
       VALUES ($1, $2, $3, 'application/octet-stream', $4::bigint, $5, CASE WHEN $4::bigint > 0 THEN false END)
       ON CONFLICT (workload_id, delivery, name) DO UPDATE SET printed_size = excluded.printed_size,
         printed_sha256 = excluded.printed_sha256, complete = CASE WHEN a.size <> excluded.printed_size THEN false END
       WHERE a.printed_sha256 IS NULL`,
      [workloadId, delivery, stream, printed.size, printed.sha256],
    );
  }
}

/** Artifacts whose kept bytes are as many as were printed, and whose digest is still to be compared. */
export async function artifactsToCheck(db: Queryable, limit = 20): Promise<OutputKept[]> {
  const rows = await db.query<{ workload_id: string; delivery: number; name: string; size: string }>(
    `SELECT workload_id, delivery, name, size FROM artifacts
     WHERE printed_sha256 IS NOT NULL AND complete IS NULL ORDER BY created_at LIMIT $1`,
    [limit],
  );
  return rows.map(({ workload_id, size, ...rest }) => ({ ...rest, workloadId: workload_id, size: Number(size) }));
}

/** Records the digest of the bytes kept; null when they are not there. It is complete when the worker counted the same. */
export async function recordDigest(db: Queryable, key: ArtifactKey, sha256: string | null): Promise<void> {
  await db.query(
    `UPDATE artifacts SET sha256 = $4, complete = $4::text IS NOT DISTINCT FROM printed_sha256
     WHERE workload_id = $1 AND delivery = $2 AND name = $3 AND printed_sha256 IS NOT NULL AND complete IS NULL`,
    [key.workloadId, key.delivery, key.name, sha256],
  );
}

interface ArtifactRow extends Omit<ArtifactRecord, 'size' | 'created_at' | 'deleted_at'> {
  size: string;
  created_at: Date;
  deleted_at: Date | null;
}

const COLUMNS = 'a.delivery, name, media_type, size, sha256, complete, created_at, deleted_at';

/** What a tenant's workload has left, by delivery and name; null when the tenant has no such workload. */
export async function artifactsOf(
  db: Queryable,
  tenantId: string,
  workloadId: string,
): Promise<(ArtifactRecord & { delivery: number })[] | null> {
  const rows = await db.query<Partial<ArtifactRow> & { delivery: number | null }>(
    `SELECT ${COLUMNS} FROM workloads w LEFT JOIN artifacts a USING (workload_id)
     WHERE w.workload_id = $1 AND w.tenant_id = $2 ORDER BY a.delivery DESC, name DESC LIMIT 1000`,
    [workloadId, tenantId],
  );
  if (rows.length === 0) return null;
  return rows
    .filter((row) => row.delivery !== null)
    .map((row) => ({ ...recordOf(row as ArtifactRow), delivery: row.delivery! }))
    .reverse();
}

/** One artifact of a tenant's workload; null when there is none. */
export async function artifactOf(db: Queryable, tenantId: string, key: ArtifactKey): Promise<ArtifactRecord | null> {
  const [row] = await db.query<ArtifactRow>(
    `SELECT ${COLUMNS} FROM artifacts a JOIN workloads w USING (workload_id)
     WHERE workload_id = $1 AND a.delivery = $2 AND name = $3 AND w.tenant_id = $4`,
    [key.workloadId, key.delivery, key.name, tenantId],
  );
  return row ? recordOf(row) : null;
}

const recordOf = (row: ArtifactRow): ArtifactRecord => ({
  name: row.name,
  media_type: row.media_type,
  size: Number(row.size),
  sha256: row.sha256,
  complete: row.complete,
  created_at: row.created_at.toISOString(),
  deleted_at: row.deleted_at?.toISOString() ?? null,
});

/** Column `artifacts` of a query over `deliveries`: what each left, as JSON. */
export const ARTIFACTS_COLUMN = `
  (SELECT coalesce(json_agg(a ORDER BY a.name), '[]') FROM (
     SELECT name, media_type, size, sha256, complete, created_at, deleted_at FROM artifacts
     WHERE artifacts.workload_id = deliveries.workload_id AND artifacts.delivery = deliveries.number) a) AS artifacts`;

/** Where the output of a delivery stands. */
export interface OutputStanding {
  state: WorkloadState;
  /** The delivery that is looked at; 0 while there is none. */
  delivery: number;
  /** Nothing more will be printed. */
  ended: boolean;
  /** Bytes kept of each stream; absent of one that printed nothing, or whose bytes are deleted. */
  sizes: Partial<Record<OutputStream, number>>;
  /** Its bytes were there once and are deleted. */
  deleted: boolean;
}

/** Looks at the output of a delivery, by default of the newest; null when the tenant has no such workload. */
export async function outputStanding(
  db: Queryable,
  tenantId: string,
  workloadId: string,
  delivery: number | null,
): Promise<OutputStanding | null> {
  const [row] = await db.query<Omit<OutputStanding, 'sizes'> & { sizes: [OutputStream, number][] }>(
    `SELECT w.state, coalesce($3::int, w.delivery) AS delivery,
       CASE WHEN d.number IS NULL THEN w.closed OR coalesce($3::int, w.delivery) < w.delivery
            WHEN d.number < w.delivery THEN true
            ELSE w.state NOT IN ('delivered', 'running', 'preempted') AND NOT (w.state = 'cancelled' AND w.may_still_run) END AS ended,
       (SELECT coalesce(json_agg(json_build_array(a.name, a.size)), '[]') FROM artifacts a
        WHERE a.workload_id = w.workload_id AND a.delivery = coalesce($3::int, w.delivery) AND a.deleted_at IS NULL) AS sizes,
       EXISTS (SELECT 1 FROM artifacts a WHERE a.workload_id = w.workload_id AND a.delivery = coalesce($3::int, w.delivery)
        AND a.deleted_at IS NOT NULL) AS deleted
     FROM workloads w
     LEFT JOIN deliveries d ON d.workload_id = w.workload_id AND d.number = coalesce($3::int, w.delivery) AND d.write <> 'not_written'
     WHERE w.workload_id = $1 AND w.tenant_id = $2`,
    [workloadId, tenantId, delivery],
  );
  return row ? { ...row, sizes: Object.fromEntries(row.sizes) } : null;
}

/**
 * Deletes the bytes of workloads that ended long ago; their rows stay and say when. `remove` deletes a file, if it is still there. Bytes go
 * before the row says so, so that a process that dies in between leaves nothing behind. Returns how many were deleted.
 */
export async function deleteOldArtifacts(
  db: Database,
  retainMs: number,
  remove: (key: ArtifactKey) => Promise<void>,
  limit = 200,
): Promise<number> {
  return db.transaction(async (tx) => {
    const rows = await tx.query<{ workload_id: string; delivery: number; name: string }>(
      `SELECT a.workload_id, a.delivery, a.name FROM artifacts a JOIN workloads w USING (workload_id)
       WHERE a.deleted_at IS NULL AND w.closed AND w.ended_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
       ORDER BY a.created_at LIMIT $2 FOR UPDATE OF w SKIP LOCKED`,
      [retainMs, limit],
    );
    for (const { workload_id: workloadId, delivery, name } of rows) {
      await remove({ workloadId, delivery, name });
      await tx.query(
        `UPDATE artifacts SET deleted_at = clock_timestamp() WHERE workload_id = $1 AND delivery = $2 AND name = $3`,
        [workloadId, delivery, name],
      );
    }
    return rows.length;
  });
}
