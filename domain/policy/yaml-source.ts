import { isAlias, isMap, isNode, isPair, isScalar, isSeq, Lexer, LineCounter, parseDocument, Parser } from 'yaml';
import type { Document, Node } from 'yaml';
import { POLICY_LIMITS } from '../../contracts/policy';
import type { Path } from './yaml-path';

export interface Position {
  line: number;
  column: number;
}

/** One slip often causes a long tail of errors. */
const MAX_SYNTAX_ERRORS = 20;

/** Deeper than any policy, and far above what the composer's recursion stands. */
const MAX_DEPTH = 64;

/**
 * The line at which a text goes deeper than {@link MAX_DEPTH}, or null; found by the parser's tokens, without recursion.
 * Composing a deep text overflows the stack, and what the engine does then may end the process.
 */
function lineTooDeep(text: string): number | null {
  const parser = new Parser();
  let line = 1;
  for (const lexeme of new Lexer().lex(text)) {
    for (const token of parser.next(lexeme)) void token;
    if (parser.stack.length > MAX_DEPTH) return line;
    line += lexeme.split('\n').length - 1;
  }
  return null;
}

/** A YAML text as data, with the place of everything in it. */
export class YamlSource {
  readonly #text: string;
  readonly #lines = new LineCounter();
  readonly #document: Document.Parsed | null;
  /** Why the text is not YAML (1.2, core schema, unique keys, one document); empty when it is. */
  readonly errors: (Position & { detail: string })[] = [];

  constructor(text: string) {
    this.#text = text;
    this.#document = this.#parse();
  }

  /** The document as plain data; undefined when there are {@link errors}. */
  data(): unknown {
    if (this.errors.length > 0) return undefined;
    try {
      return this.#document?.toJS({ maxAliasCount: POLICY_LIMITS.aliases });
    } catch (error) {
      this.errors.push({
        line: 1,
        column: 1,
        detail: error instanceof ReferenceError ? error.message : 'nested too deeply',
      });
      return undefined;
    }
  }

  /** Where the value at a path begins; of a missing value, where its nearest ancestor does. `key` asks for the key instead. */
  positionOf(path: Path, options: { key?: boolean } = {}): Position {
    return this.#at(this.#offsetOf(path, options.key ?? false));
  }

  /** The place of the character at `index` of the string at a path, through quotes, folding and indentation. */
  positionInString(path: Path, index: number): Position {
    const node = this.#find(path).value;
    if (!isScalar(node) || typeof node.value !== 'string' || !node.range) return this.positionOf(path);
    let offset = node.range[0];
    const end = node.range[1];
    for (let at = 0; at <= index && at < node.value.length; at += 1) {
      const char = node.value[at]!;
      if (/\s/.test(char)) continue;
      while (offset < end && this.#text[offset] !== char) offset += 1;
      if (at < index) offset += 1;
    }
    return this.#at(Math.min(offset, Math.max(node.range[0], end - 1)));
  }

  #parse(): Document.Parsed | null {
    const deep = lineTooDeep(this.#text);
    if (deep !== null) {
      this.errors.push({ line: deep, column: 1, detail: `nested deeper than ${MAX_DEPTH} levels` });
      return null;
    }
    try {
      const document = parseDocument(this.#text, {
        version: '1.2',
        schema: 'core',
        uniqueKeys: true,
        strict: true,
        prettyErrors: false,
        lineCounter: this.#lines,
      });
      for (const problem of [...document.errors, ...document.warnings].slice(0, MAX_SYNTAX_ERRORS)) {
        const detail = problem.code === 'MULTIPLE_DOCS' ? 'only one document is allowed' : problem.message;
        this.errors.push({ ...this.#at(problem.pos[0]), detail });
      }
      return document;
    } catch {
      this.errors.push({ line: 1, column: 1, detail: 'nested too deeply' });
      return null;
    }
  }

  #at(offset: number): Position {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #offsetOf(path: Path, wantKey: boolean): number {
    const { key, value } = this.#find(path);
    const node = wantKey ? (key ?? value) : (value ?? key);
    return node?.range?.[0] ?? 0;
  }

  /** Follows a path as far as it goes. A missing last step gives the key of the value it is missing from. */
  #find(path: Path): { key: Node | null; value: Node | null } {
    let here: { key: Node | null; value: Node | null } = { key: null, value: this.#document?.contents ?? null };
    for (const step of path) {
      const next = this.#step(here.value, step);
      if (!next) return { key: here.key, value: here.key ?? here.value };
      here = next;
    }
    return here;
  }

  #step(node: Node | null, step: PropertyKey): { key: Node | null; value: Node | null } | null {
    const target = isAlias(node) && this.#document ? (node.resolve(this.#document) ?? null) : node;
    if (isSeq(target)) {
      const item = target.items[Number(step)];
      return isNode(item) ? { key: null, value: item } : null;
    }
    if (!isMap(target)) return null;
    const pair = target.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
    if (!isPair(pair)) return null;
    return { key: isNode(pair.key) ? pair.key : null, value: isNode(pair.value) ? pair.value : null };
  }
}
