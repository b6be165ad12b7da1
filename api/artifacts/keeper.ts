import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
import { Rounds } from '../../domain/rounds';
import { artifactsToCheck, deleteOldArtifacts, recordDigest, type ArtifactKey } from '../../ledger/artifacts';
import type { Database } from '../../ledger/database';
import type { ArtifactStore } from './store';

export interface ArtifactKeeperOptions {
  db: Database;
  store: ArtifactStore;
  /** Bytes of workloads that ended longer ago than this are deleted, milliseconds. */
  retainMs: number;
  logger: Logger;
  /** Milliseconds between two looks. Default 2,000. */
  everyMs?: number;
}

const EVERY_MS = 2_000;
/** Old bytes are looked for this often. */
const RETENTION_MS = 60_000;
/** After a failure, so that an outage does not fill the log. */
const AFTER_FAILURE_MS = 30_000;

/**
 * Compares the digests of what is kept with what the workers counted, and deletes what is old. Any number of processes with the same folder may
 * do it: each step may be repeated.
 */
export class ArtifactKeeper {
  private readonly rounds = new Rounds(() => this.look());
  private retainedAt = -Infinity;

  constructor(private readonly options: ArtifactKeeperOptions) {}

  start(): void {
    this.rounds.start(this.options.everyMs ?? EVERY_MS);
  }

  stop(): Promise<void> {
    return this.rounds.stop();
  }

  /** Looks once. Returns how long to wait for the next time, milliseconds. */
  private async look(): Promise<number> {
    const { everyMs = EVERY_MS } = this.options;
    try {
      await checkDigests(this.options.db, this.options.store);
      if (performance.now() - this.retainedAt < RETENTION_MS) return everyMs;
      const { db, store, retainMs, logger } = this.options;
      const count = await deleteOldArtifacts(db, retainMs, (key) => store.remove(key));
      if (count > 0) logger.info({ count }, 'old artifacts were deleted');
      // A full pass is followed by the next one at once.
      if (count === 0) this.retainedAt = performance.now();
      return everyMs;
    } catch (error) {
      const { name, code } = error as { name?: string; code?: unknown };
      this.options.logger.warn({ error: name, code }, 'artifacts were not looked after; the next look tries again');
      return AFTER_FAILURE_MS;
    }
  }
}

/** Records the digests of artifacts whose command has ended. Returns how many. */
export async function checkDigests(db: Database, store: ArtifactStore): Promise<number> {
  const waiting = await artifactsToCheck(db);
  for (const artifact of waiting) await recordDigest(db, artifact, await digestOf(store, artifact, artifact.size));
  return waiting.length;
}

async function digestOf(store: ArtifactStore, key: ArtifactKey, size: number): Promise<string | null> {
  if (size > 0 && ((await store.size(key)) ?? 0) < size) return null;
  const hash = createHash('sha256');
  for await (const piece of store.read(key, 0, size)) hash.update(piece);
  return hash.digest('hex');
}
