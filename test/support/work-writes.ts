import type { FencedWrite } from '../../ledger/fenced-write';
import { writeEvents } from '../../ledger/work-writes/events';
import {
  finalizeRun,
  writeArtifact,
  writeChannelDelivery,
  writeCommandStatus,
  writeUsage,
} from '../../ledger/work-writes/records';
import { reportRun } from '../../ledger/work-writes/run-status';
import { writeCheckpoint, writeProjection } from '../../ledger/work-writes/snapshots';
import type { Database } from '../../ledger/database';

export const SHA256 = 'a'.repeat(64);

/** One write of each kind, by its name in the audit; each may be made again. */
export const WORK_WRITES: Record<string, (db: Database, write: FencedWrite) => Promise<unknown>> = {
  events: (db, write) => writeEvents(db, write, [{ event_id: 'e', sequence: 1, type: 'step.done', payload: { n: 1 } }]),
  'run-status': (db, write) => reportRun(db, write, { status: 'running' }),
  'command-status': (db, write) => writeCommandStatus(db, write, { command_id: 'c', sequence: 1, status: 'running' }),
  projection: (db, write) => writeProjection(db, write, { sequence: 1, view: { open: true } }),
  finalize: (db, write) => finalizeRun(db, write, { run_id: 'r', status: 'completed' }),
  checkpoints: (db, write) => writeCheckpoint(db, write, { version: 1, schema: 3, sha256: SHA256, size: 10 }),
  artifacts: (db, write) =>
    writeArtifact(db, write, {
      artifact_id: 'a',
      size: 10,
      sha256: SHA256,
      content_type: 'text/plain',
      retention_class: 'standard',
    }),
  deliveries: (db, write) =>
    writeChannelDelivery(db, write, { delivery_id: 'd', channel: 'telegram', status: 'pending' }),
  usage: (db, write) => writeUsage(db, write, { event_id: 'u', kind: 'tokens', quantity: 5, unit: 'token' }),
};
