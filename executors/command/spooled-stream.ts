import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { MAX_ARTIFACT_BYTES, type OutputStream } from '../../contracts/artifacts';

/** What one stream of a command printed: counted as it comes, and put into a file from which it is sent. */
export class SpooledStream {
  readonly #hash = createHash('sha256');
  #handle: number | null = null;
  #size = 0;
  #spooled = 0;
  /** Why nothing more goes into the file; null while all does. */
  failure: string | null = null;
  /** Bytes that the other side has. */
  sent = 0;

  constructor(
    readonly name: OutputStream,
    private readonly file: string,
  ) {}

  /** Never throws: what does not fit on the disk is counted, and not sent. */
  write(chunk: Uint8Array): void {
    this.#hash.update(chunk);
    this.#size += chunk.length;
    if (this.failure !== null) return;
    try {
      const room = MAX_ARTIFACT_BYTES - this.#spooled;
      if (chunk.length > room) this.failure = 'limit';
      this.#handle ??= openSync(this.file, 'wx+', 0o600);
      for (let done = 0; done < Math.min(chunk.length, room);) {
        const most = Math.min(chunk.length, room) - done;
        const written = writeSync(this.#handle, chunk, done, most, this.#spooled);
        done += written;
        this.#spooled += written;
      }
    } catch (error) {
      this.failure = String((error as NodeJS.ErrnoException).code);
    }
  }

  /** Bytes that are still to be sent. */
  get pending(): number {
    return Math.max(0, this.#spooled - this.sent);
  }

  /** The next bytes to send, at most so many. Fails when the file cannot be read. */
  next(most: number): Uint8Array<ArrayBuffer> {
    const piece = new Uint8Array(Math.min(most, this.pending));
    const read = readSync(this.#handle!, piece, 0, piece.length, this.sent);
    return piece.subarray(0, read);
  }

  /** What was printed in all, null when it was nothing; removes the file. Nothing may be written afterwards. */
  end(): { size: number; sha256: string } | null {
    try {
      if (this.#handle !== null) closeSync(this.#handle);
      rmSync(this.file, { force: true });
    } catch {
      // The next start removes it.
    }
    this.#handle = null;
    this.failure ??= 'ended';
    return this.#size === 0 ? null : { size: this.#size, sha256: this.#hash.digest('hex') };
  }
}
