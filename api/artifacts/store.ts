import type { ArtifactKey } from '../../ledger/artifacts';

/**
 * Where the bytes of artifacts are. What is kept of each is for the ledger to say: bytes behind the recorded size are none, and are written
 * over. A failure for want of room is the problem `artifacts.no_room`.
 */
export interface ArtifactStore {
  /** Writes bytes at an offset, durably, and nothing behind them. Everything before the offset must be there: else it is `artifacts.gone`. */
  append(key: ArtifactKey, offset: number, bytes: Uint8Array): Promise<void>;
  /** How many bytes are there; null when there are none. */
  size(key: ArtifactKey): Promise<number | null>;
  /** The bytes from `start` up to `end` (exclusive), in pieces of at most 64 KiB. Fails when they are not all there. */
  read(key: ArtifactKey, start: number, end: number): AsyncGenerator<Uint8Array, void, void>;
  /** Deletes all of it; what is not there is deleted. */
  remove(key: ArtifactKey): Promise<void>;
}
