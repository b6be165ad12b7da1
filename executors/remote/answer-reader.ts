import { OUTPUT_LIMIT_BYTES } from '../child-run';
import { JsonTextPieces, type PrintedText } from './json-text-pieces';

/** Characters of an answer beside what the command printed. */
const REST_LIMIT = 1024 * 1024;

/** The longest answer that can be within the limits: JSON may spell one byte in six. */
export const MAX_ANSWER_BYTES = 6 * OUTPUT_LIMIT_BYTES + REST_LIMIT;

export interface ReadAnswer {
  /** The answer with an empty `stdout`; undefined when it was not JSON. */
  value: unknown;
  /** Null when `stdout` is no text or not there. */
  stdout: PrintedText | null;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const SPACE = 0x20;

/**
 * Reads a runner's JSON answer as it comes. `stdout` of the outermost object, which may be 32 MiB of text and six times that as
 * JSON, is decoded and hashed piece by piece, so that one copy of it is held and no more; the rest is small and parsed whole.
 */
export class AnswerReader {
  private readonly decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  private rest = '';
  private failed: 'too-large' | 'no-json' | null = null;
  private depth = 0;
  /** The last character outside of strings that is no space. */
  private before = 0;
  private key: unknown = null;
  private stringBegan = 0;
  private inString = false;
  private afterBackslash = false;
  private stdout: JsonTextPieces | null = null;
  private inStdout = false;

  add(chunk: Uint8Array): void {
    this.read(this.decoder.decode(chunk, { stream: true }));
  }

  /** `too-large`: it is over the limits. */
  end(): ReadAnswer | 'too-large' {
    this.read(this.decoder.decode());
    if (this.failed === 'too-large') return this.failed;
    const value = this.failed === null ? parsed(this.rest) : undefined;
    const hasText = typeof (value as { stdout?: unknown } | null | undefined)?.stdout === 'string';
    return { value, stdout: hasText && this.stdout ? this.stdout.end() : null };
  }

  private read(text: string): void {
    let from = 0;
    for (let at = 0; at < text.length && this.failed === null; at += 1) {
      if (this.inString) {
        at = this.stringEnd(text, at);
        this.keep(text.slice(from, at));
        from = at;
        if (at < text.length) this.endString();
        continue;
      }
      const code = text.charCodeAt(at);
      if (code === QUOTE) {
        this.keep(text.slice(from, at + 1));
        from = at + 1;
        this.beginString();
      } else if (code > SPACE) {
        this.before = code;
        if (code === 0x7b || code === 0x5b) this.depth += 1;
        else if (code === 0x7d || code === 0x5d) this.depth -= 1;
      }
    }
    if (this.failed === null) this.keep(text.slice(from));
  }

  /** Where the string ends that `text` goes on with, or the length of `text`. */
  private stringEnd(text: string, from: number): number {
    let at = this.afterBackslash ? from + 1 : from;
    while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1;
    this.afterBackslash = at > text.length;
    return Math.min(at, text.length);
  }

  private beginString(): void {
    this.inString = true;
    this.stringBegan = this.rest.length - 1;
    if (this.depth !== 1 || this.before !== COLON || this.key !== 'stdout') return;
    this.inStdout = true;
    this.stdout = new JsonTextPieces();
  }

  private endString(): void {
    if (this.depth === 1) this.key = this.before === COLON ? null : parsed(`${this.rest.slice(this.stringBegan)}"`);
    this.inString = this.inStdout = false;
  }

  private keep(text: string): void {
    if (this.inStdout) {
      if (!this.stdout!.add(text)) this.failed = 'no-json';
      else if (this.stdout!.bytes > OUTPUT_LIMIT_BYTES) this.failed = 'too-large';
    } else {
      this.rest += text;
      if (this.rest.length > REST_LIMIT) this.failed = 'too-large';
    }
  }
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return undefined;
  }
}
