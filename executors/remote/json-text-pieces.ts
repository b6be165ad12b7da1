import { createHash } from 'node:crypto';

/** What a command printed, as a runner told it. */
export interface PrintedText {
  /** As UTF-8, in pieces. */
  pieces: readonly Buffer[];
  /** As evidence has it. */
  digest: string;
}

const HIGH_SURROGATE_LAST = /[\ud800-\udbff]$/;

/** Decodes the inside of a JSON string that comes in pieces cut anywhere. */
export class JsonTextPieces {
  /** Bytes of the text so far, as UTF-8. */
  bytes = 0;
  private readonly pieces: Buffer[] = [];
  private readonly hash = createHash('sha256');
  private escape = '';
  private surrogate = '';

  /** False when it is not the inside of a JSON string. */
  add(raw: string): boolean {
    const text = this.escape + raw;
    const whole = text.length - unfinishedEscape(text);
    this.escape = text.slice(whole);
    try {
      this.take(JSON.parse(`"${text.slice(0, whole)}"`) as string);
      return true;
    } catch {
      return false;
    }
  }

  end(): PrintedText {
    this.keep(this.surrogate);
    return { pieces: this.pieces, digest: `sha256:${this.hash.digest('hex')}` };
  }

  /** A character may be spelled as two escapes, with a cut between them. */
  private take(decoded: string): void {
    const text = this.surrogate + decoded;
    this.surrogate = HIGH_SURROGATE_LAST.exec(text)?.[0] ?? '';
    this.keep(text.slice(0, text.length - this.surrogate.length));
  }

  private keep(text: string): void {
    if (text === '') return;
    const piece = Buffer.from(text, 'utf8');
    this.bytes += piece.length;
    this.hash.update(piece);
    this.pieces.push(piece);
  }
}

/** Characters at the end of the text that are an escape whose rest is still to come. */
function unfinishedEscape(text: string): number {
  const at = text.lastIndexOf('\\');
  const length = text.length - at;
  if (at === -1 || length > 5 || (length > 1 && text[at + 1] !== 'u')) return 0;
  let row = at;
  while (row > 0 && text[row - 1] === '\\') row -= 1;
  return (at - row) % 2 === 0 ? length : 0;
}
