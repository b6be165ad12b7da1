import { Problem } from '../contracts/problems';

/** Deepest nesting of a request body; what may be nested less says so itself. */
const MAX_BODY_DEPTH = 100;

/** White space, then a punctuation mark, a string, a number or a literal. Sticky, so it never looks ahead. */
const TOKEN =
  // eslint-disable-next-line no-control-regex -- JSON forbids just these in strings
  /[\t\n\r ]*(?:([{}[\],:])|("[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9.eE])|true|false|null))/y;
const SPACE = /[\t\n\r ]*/y;

/** An open object or array; `keys` only of objects. */
interface Open {
  keys: Set<string> | null;
}

/** What may come next. */
type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | ':' | ', or end';

/**
 * Parses JSON as RFC 8259 has it. Problems: `request.malformed` with line and column, also for a name that an object holds
 * twice (readers disagree on which one counts); `request.invalid` for deeper nesting than {@link MAX_BODY_DEPTH}.
 * Names such as `__proto__` are kept as what they are.
 */
export function parseStrictJson(text: string): unknown {
  check(text);
  return JSON.parse(text);
}

/** Walks the text with a stack of its own, so no nesting can overflow the real one. */
function check(text: string): void {
  const open: Open[] = [];
  let expected: Expected = 'value';
  let at = 0;
  while (!(open.length === 0 && expected === ', or end')) {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (!match) throw malformed(text, skipSpace(text, at), 'not a JSON token');
    const [, mark, string, atom] = match;
    const start = TOKEN.lastIndex - (mark ?? string ?? atom)!.length;
    at = TOKEN.lastIndex;
    expected = step(text, start, expected, open, mark, string);
  }
  const end = skipSpace(text, at);
  if (end < text.length) throw malformed(text, end, 'something follows the value');
}

function skipSpace(text: string, at: number): number {
  SPACE.lastIndex = at;
  SPACE.exec(text);
  return SPACE.lastIndex;
}

function step(
  text: string,
  at: number,
  expected: Expected,
  open: Open[],
  mark: string | undefined,
  string: string | undefined,
): Expected {
  const unexpected = (): Problem =>
    malformed(text, at, expected === ', or end' ? 'expected , or the end' : `expected ${expected}`);
  const inside = open.at(-1);
  switch (expected) {
    case ':':
      if (mark !== ':') throw unexpected();
      return 'value';
    case ', or end':
      if (mark === ',') return inside!.keys ? 'key' : 'value';
      if (mark !== (inside!.keys ? '}' : ']')) throw unexpected();
      open.pop();
      return ', or end';
    case 'key':
    case 'key or }':
      if (string === undefined) {
        if (mark !== '}' || expected === 'key') throw unexpected();
        open.pop();
        return ', or end';
      }
      addKey(text, at, inside!.keys!, string);
      return ':';
    case 'value':
    case 'value or ]':
      if (mark === undefined) return ', or end';
      if (mark === ']' && expected === 'value or ]') {
        open.pop();
        return ', or end';
      }
      if (mark !== '{' && mark !== '[') throw unexpected();
      if (open.length >= MAX_BODY_DEPTH) throw tooDeep();
      open.push({ keys: mark === '{' ? new Set() : null });
      return mark === '{' ? 'key or }' : 'value or ]';
  }
}

function addKey(text: string, at: number, keys: Set<string>, quoted: string): void {
  const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
  if (keys.has(key)) throw malformed(text, at, 'a name is there twice');
  keys.add(key);
}

/** Names the place and never quotes the text. */
function malformed(text: string, at: number, what: string): Problem {
  const before = text.slice(0, at);
  const line = before.split('\n').length;
  const column = at - before.lastIndexOf('\n');
  return new Problem(
    'request.malformed',
    `The body is not acceptable JSON: ${what} at line ${line}, column ${column}.`,
    {
      errors: [{ pointer: '', detail: `${what} (line ${line}, column ${column}, position ${at})` }],
      extra: { position: at },
    },
  );
}

function tooDeep(): Problem {
  return new Problem('request.invalid', `The body is nested deeper than ${MAX_BODY_DEPTH} levels.`, {
    errors: [{ pointer: '', detail: `is nested deeper than ${MAX_BODY_DEPTH} levels` }],
  });
}
