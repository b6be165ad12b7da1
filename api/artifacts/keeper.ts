import { createHash } from 'node:crypto';
import type { Logger } from 'pino';
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
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> = Promise.resolve();
  private retainedAt = -Infinity;
  private failed = false;
  private stopped = false;

  constructor(private readonly options: ArtifactKeeperOptions) {}

  start(): void {
    this.timer = setTimeout(
      () => {
        this.looking = this.look().finally(() => {
          if (!this.stopped) this.start();
        });
      },
      this.failed ? AFTER_FAILURE_MS : (this.options.everyMs ?? EVERY_MS),
    );
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    await this.looking;
  }

  private async look(): Promise<void> {
    this.failed = false;
    try {
      await checkDigests(this.options.db, this.options.store);
      if (performance.now() - this.retainedAt < RETENTION_MS) return;
      const { db, store, retainMs, logger } = this.options;
      const count = await deleteOldArtifacts(db, retainMs, (key) => store.remove(key));
      if (count > 0) logger.info({ count }, 'old artifacts were deleted');
      // A full pass is followed by the next one at once.
      if (count === 0) this.retainedAt = performance.now();
    } catch (error) {
      this.failed = true;
      const { name, code } = error as { name?: string; code?: unknown };
      this.options.logger.warn({ error: name, code }, 'artifacts were not looked after; the next look tries again');
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
