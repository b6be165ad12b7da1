import { WORK_LIMITS, type CheckpointWrite, type ProjectionWrite } from '../../contracts/work-writes';
import { canonicalJson } from '../../domain/identity';
import { secretHash } from '../../domain/secret';
import type { Queryable } from '../database';
import type { FencedWrite } from '../fenced-write';
import { fencedCall, utc, WRITER } from './fenced-call';

const PROJECTION = { kind: 'projection', call: `write_work_projection(${WRITER}, $6, $7, $8)` };
const CHECKPOINT = { kind: 'checkpoints', call: `write_work_checkpoint(${WRITER}, $6, $7, $8, $9, $10)` };

interface WrittenProjection {
  sequence: number;
  recorded_at: string;
}

/** Puts a view of the work in the place of the one before. Its sequence grows, with or without gaps. */
export async function writeProjection(
  db: Queryable,
  write: FencedWrite,
  { sequence, view }: ProjectionWrite,
): Promise<WrittenProjection> {
  const hash = secretHash(canonicalJson(view));
  const written = await fencedCall<WrittenProjection>(db, PROJECTION, write, [sequence, JSON.stringify(view), hash]);
  return { ...written, recorded_at: utc(written.recorded_at) };
}

interface WrittenCheckpoint extends CheckpointWrite {
  manifest_key: string;
  recorded_at: string;
}

/** Notes a checkpoint whose objects are stored, and names its manifest. From now on only workers that read its schema get the work. */
export async function writeCheckpoint(
  db: Queryable,
  write: FencedWrite,
  { version, schema, sha256, size }: CheckpointWrite,
): Promise<WrittenCheckpoint> {
  const written = await fencedCall<WrittenCheckpoint>(db, CHECKPOINT, write, [
    version,
    schema,
    sha256,
    size,
    WORK_LIMITS.checkpoints,
  ]);
  return { ...written, recorded_at: utc(written.recorded_at) };
}
