import { constants } from 'node:fs';
import { mkdir, open, rm, rmdir, stat, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { artifactName, MAX_ARTIFACT_BYTES } from '../../contracts/artifacts';
import { workloadId as workloadIdRule } from '../../contracts/ids';
import { Problem } from '../../contracts/problems';
import { debugPoint } from '../../domain/debug-point';
import type { ArtifactKey } from '../../ledger/artifacts';
import { makePrivateFolder } from '../../ledger/private-files';
import type { ArtifactStore } from './store';

const { O_CREAT, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const PIECE_BYTES = 64 * 1024;
const NO_ROOM = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Artifacts as files `<workload_id>/<delivery>/<name>` below a folder, all of it closed to other users. Several api processes may share it. */
export class FolderStore implements ArtifactStore {
  private constructor(readonly folder: string) {}

  /** Makes the folder, or closes one that lay open to others. Fails when it cannot be written. */
  static open(folder: string): FolderStore {
    return new FolderStore(makePrivateFolder(folder, 0o700));
  }

  async append(key: ArtifactKey, offset: number, bytes: Uint8Array): Promise<void> {
    if (offset + bytes.length > MAX_ARTIFACT_BYTES) {
      throw new Problem('artifacts.too_large', `No more than ${MAX_ARTIFACT_BYTES} bytes of a stream are kept.`);
    }
    const file = this.#path(key);
    try {
      await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
      const handle = await open(file, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600);
      try {
        await writeAt(handle, offset, bytes);
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (!NO_ROOM.has(codeOf(error))) throw error;
      throw new Problem('artifacts.no_room', 'There is no room for artifacts here; nothing was kept of this piece.', {
        retryAfterMs: 5_000,
      });
    }
    debugPoint('output-written');
  }

  async size(key: ArtifactKey): Promise<number | null> {
    const found = await stat(this.#path(key)).catch(ifMissing);
    return found && found.size;
  }

  async *read(key: ArtifactKey, start: number, end: number): AsyncGenerator<Uint8Array, void, void> {
    if (start >= end) return;
    const handle = await open(this.#path(key), O_RDONLY | O_NOFOLLOW).catch(ifMissing);
    if (!handle) throw gone();
    try {
      for (let at = start; at < end;) {
        const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, end - at));
        const { bytesRead } = await handle.read(piece, 0, piece.length, at);
        if (bytesRead === 0) throw gone();
        // Before the last piece: who has got it may go, and must not find the answer unfinished.
        if (at + bytesRead === end) await handle.close();
        yield piece.subarray(0, bytesRead);
        at += bytesRead;
      }
    } finally {
      await handle.close();
    }
  }

  async remove(key: ArtifactKey): Promise<void> {
    const file = this.#path(key);
    await rm(file, { force: true });
    const delivery = path.dirname(file);
    for (const folder of [delivery, path.dirname(delivery)]) {
      // Not empty: something else is still kept there.
      await rmdir(folder).catch(() => undefined);
    }
  }

  /** Made of checked parts only, so that it lies in the folder. */
  #path({ workloadId, delivery, name }: ArtifactKey): string {
    if (!Number.isSafeInteger(delivery) || delivery < 1) throw new Error('not a delivery');
    return path.join(this.folder, workloadIdRule.parse(workloadId), String(delivery), artifactName.parse(name));
  }
}

/** What lies behind the offset was never recorded, and goes; so does what could be written of a piece that did not fit. */
async function writeAt(handle: FileHandle, offset: number, bytes: Uint8Array): Promise<void> {
  const { size } = await handle.stat();
  if (size < offset) throw gone();
  if (size > offset) await handle.truncate(offset);
  try {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset + done);
      done += bytesWritten;
    }
    await handle.datasync();
  } catch (error) {
    await handle.truncate(offset).catch(() => undefined);
    throw error;
  }
}

const gone = (): Problem => new Problem('artifacts.gone', 'The bytes are not kept here any more.');

function ifMissing(error: unknown): null {
  if (codeOf(error) === 'ENOENT') return null;
  throw error;
}

const codeOf = (error: unknown): string => String((error as { code?: unknown }).code);
