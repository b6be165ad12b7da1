import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from './temporary-folder';

/** A real FIFO in a folder of its own, and its reading end. */
export class TestFifo {
  readonly path = join(temporaryFolder(), 'trigger.pipe');
  #fd: number | null = null;

  constructor() {
    execFileSync('mkfifo', [this.path]);
  }

  /** Opens it as OpenCrow does. */
  openReader(): this {
    this.#fd = openSync(this.path, constants.O_RDWR | constants.O_NONBLOCK);
    return this;
  }

  closeReader(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  /** Everything that is in the pipe now. */
  read(): string {
    const chunks: Buffer[] = [];
    const chunk = Buffer.alloc(65_536);
    for (;;) {
      try {
        const length = readSync(this.#fd as number, chunk);
        chunks.push(Buffer.from(chunk.subarray(0, length)));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return Buffer.concat(chunks).toString('utf8');
        throw error;
      }
    }
  }
}
