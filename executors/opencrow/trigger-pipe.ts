import { closeSync, constants, fstatSync, lstatSync, openSync, writeSync } from 'node:fs';

/** What became of one line. Only `not_delivered` may be tried again. */
export type PipeWrite =
  { result: 'written' } | { result: 'not_delivered'; reason: string } | { result: 'unknown'; detail: string };

export type PipeOpening = { ok: true; pipe: OpenTriggerPipe } | { ok: false; reason: string };

/**
 * Errors of a non-blocking write of at most PIPE_BUF bytes that prove that nothing of it is in the pipe: such a write is
 * all or nothing.
 */
const NOTHING_WRITTEN = new Set(['EAGAIN', 'EPIPE']);

/**
 * Opens OpenCrow's trigger pipe for writing. Never blocks, never creates a file and follows no symbolic link in the last
 * path component. Fails with `ENXIO` (nobody reads it), `ENOENT`, `EACCES`, `symlink`, `not_a_fifo` or another errno code.
 */
export function openTriggerPipe(path: string): PipeOpening {
  let fd: number;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW | constants.O_NOCTTY);
  } catch (error) {
    return { ok: false, reason: openFailure(path, errnoCode(error)) };
  }
  if (fstatSync(fd).isFIFO()) return { ok: true, pipe: new OpenTriggerPipe(fd) };
  closeSync(fd);
  return { ok: false, reason: 'not_a_fifo' };
}

/** A trigger pipe with a reader at its other end. Keep it open for one delivery only, and close it. */
export class OpenTriggerPipe {
  #fd: number | null;

  constructor(fd: number) {
    this.#fd = fd;
  }

  /** Writes one line in one write. The newline before it ends what another writer may have left unfinished. */
  write(line: string): PipeWrite {
    if (this.#fd === null) throw new Error('the trigger pipe is closed');
    const bytes = Buffer.from(`\n${line}\n`);
    try {
      const written = writeSync(this.#fd, bytes);
      if (written === bytes.length) return { result: 'written' };
      return { result: 'unknown', detail: `short write: ${written} of ${bytes.length} bytes` };
    } catch (error) {
      const code = errnoCode(error);
      if (NOTHING_WRITTEN.has(code)) return { result: 'not_delivered', reason: code };
      return { result: 'unknown', detail: `write failed: ${code}` };
    }
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }
}

/** ENXIO is also what a socket says, and ELOOP what O_NOFOLLOW says of a symbolic link: name those for what they are. */
function openFailure(path: string, code: string): string {
  if (code === 'ELOOP') return 'symlink';
  if (code === 'EISDIR') return 'not_a_fifo';
  if (code !== 'ENXIO') return code;
  try {
    return lstatSync(path).isFIFO() ? 'ENXIO' : 'not_a_fifo';
  } catch (error) {
    return errnoCode(error);
  }
}

function errnoCode(error: unknown): string {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  return typeof code === 'string' ? code : 'unknown_error';
}
