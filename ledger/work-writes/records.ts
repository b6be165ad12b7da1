import type { JsonValue } from '../../contracts/events';
import {
  CHANNEL_DELIVERY_STATES,
  COMMAND_STATES,
  WORK_LIMITS,
  type ArtifactWrite,
  type ChannelDelivery,
  type CommandRecord,
  type CommandStatusRequest,
  type Finalization,
  type UsageWrite,
} from '../../contracts/work-writes';
import { canonicalJson } from '../../domain/identity';
import { secretHash } from '../../domain/secret';
import type { Queryable } from '../database';
import type { FencedWrite } from '../fenced-write';
import { fencedCall, utc, WRITER } from './fenced-call';

/** When a record was written first and last. */
export interface RecordTimes {
  recorded_at: string;
  updated_at: string;
}

/** What is written of one thing with an id. */
interface WorkRecord {
  kind: 'command' | 'artifact' | 'delivery' | 'usage' | 'finalization';
  /** Of the write, in the audit. */
  write: string;
  id: string;
  /** What may never change. */
  identity: object;
  /** What may change with the status. */
  changing?: object;
  status?: { name: string; rank: number };
  /** The control plane gives it an object key that ends so. */
  objectName?: string;
  most: number;
}

async function writeRecord<Body extends object>(
  db: Queryable,
  write: FencedWrite,
  record: WorkRecord,
): Promise<Body & RecordTimes> {
  const { kind, id, identity, changing = {}, status, objectName, most } = record;
  const body = { ...identity, ...changing };
  const hashOf = (value: object): Buffer => secretHash(canonicalJson(value as JsonValue));
  const written = await fencedCall<Body & RecordTimes>(
    db,
    { kind: record.write, call: `write_work_record(${WRITER}, $6, $7, $8, $9, $10, $11, $12, $13, $14)` },
    write,
    [
      kind,
      id,
      status?.name ?? null,
      status?.rank ?? 0,
      JSON.stringify(body),
      hashOf(identity),
      hashOf({ ...body, status: status?.name ?? null }),
      objectName ?? null,
      most,
    ],
  );
  return { ...written, recorded_at: utc(written.recorded_at), updated_at: utc(written.updated_at) };
}

/** The last two of these states are ends: none of them comes after the other. */
const ranked = <S extends string>(states: readonly [...S[], S, S], name: S): { name: S; rank: number } => ({
  name,
  rank: Math.min(states.indexOf(name), states.length - 2),
});

/** Notes where a command of the work stands. */
export const writeCommandStatus = async (
  db: Queryable,
  write: FencedWrite,
  { command_id, sequence, status, code }: CommandStatusRequest,
): Promise<CommandRecord> =>
  writeRecord<Omit<CommandRecord, keyof RecordTimes>>(db, write, {
    kind: 'command',
    write: 'command-status',
    id: command_id,
    identity: { command_id, sequence },
    changing: { code: code ?? null },
    status: ranked(COMMAND_STATES, status),
    most: WORK_LIMITS.commands,
  });

/** Notes an artifact whose object is stored, and names the object. */
export const writeArtifact = async (
  db: Queryable,
  write: FencedWrite,
  artifact: ArtifactWrite,
): Promise<ArtifactWrite & { object_key: string } & RecordTimes> =>
  writeRecord(db, write, {
    kind: 'artifact',
    write: 'artifacts',
    id: artifact.artifact_id,
    identity: artifact,
    objectName: `artifacts/${secretHash(artifact.artifact_id).toString('hex')}`,
    most: WORK_LIMITS.artifacts,
  });

/** Notes where a message to a channel stands that came of the work. */
export const writeChannelDelivery = async (
  db: Queryable,
  write: FencedWrite,
  { delivery_id, channel, status, code }: ChannelDelivery,
): Promise<ChannelDelivery & RecordTimes> =>
  writeRecord(db, write, {
    kind: 'delivery',
    write: 'deliveries',
    id: delivery_id,
    identity: { delivery_id, channel },
    changing: { code: code ?? null },
    status: ranked(CHANNEL_DELIVERY_STATES, status),
    most: WORK_LIMITS.deliveries,
  });

/** Notes what the work used, once. */
export const writeUsage = async (
  db: Queryable,
  write: FencedWrite,
  usage: UsageWrite,
): Promise<UsageWrite & RecordTimes> =>
  writeRecord(db, write, {
    kind: 'usage',
    write: 'usage',
    id: usage.event_id,
    identity: usage,
    most: WORK_LIMITS.usage,
  });

/** Notes the end of a workflow run: the first word stands. */
export const finalizeRun = async (
  db: Queryable,
  write: FencedWrite,
  end: Finalization,
): Promise<Finalization & RecordTimes> =>
  writeRecord(db, write, {
    kind: 'finalization',
    write: 'finalize',
    id: end.run_id,
    identity: end,
    most: WORK_LIMITS.finalizations,
  });
