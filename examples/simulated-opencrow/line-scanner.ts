/** Longest line with its newline that Go's `bufio.Scanner` passes. */
const MAX_LINE_WITH_NEWLINE = 65_536;

/** Splits what comes from the pipe into lines as OpenCrow does. A line that is too long ends it for good. */
export class LineScanner {
  #rest = Buffer.alloc(0);
  #dead = false;

  get dead(): boolean {
    return this.#dead;
  }

  /** The lines that `chunk` completes. */
  push(chunk: Buffer): string[] {
    if (this.#dead) return [];
    const lines: string[] = [];
    this.#rest = Buffer.concat([this.#rest, chunk]);
    for (let end = this.#rest.indexOf(0x0a); end >= 0; end = this.#rest.indexOf(0x0a)) {
      if (end + 1 > MAX_LINE_WITH_NEWLINE) break;
      lines.push(this.#rest.subarray(0, end).toString('utf8'));
      this.#rest = this.#rest.subarray(end + 1);
    }
    this.#dead = this.#rest.length >= MAX_LINE_WITH_NEWLINE;
    return lines;
  }
}
