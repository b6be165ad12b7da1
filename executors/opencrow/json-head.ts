/** What could be read of a JSON text. */
export interface JsonHead {
  /** The object's fields; null when the text is whole JSON but no object. */
  fields: Record<string, unknown> | null;
  /** The text ended too early: only what came before is there, a string at the very end as far as it goes. */
  truncated: boolean;
}

/**
 * Reads a JSON object that may be cut off at any byte. A cut text is closed where it ends: the unfinished last member is
 * dropped, except that the text of a nested `error` is kept as far as it goes. Null: not JSON, cut or whole.
 */
export function readJsonHead(text: string): JsonHead | null {
  const whole = tryParse(text);
  if (whole !== undefined) {
    const isObject = typeof whole === 'object' && whole !== null && !Array.isArray(whole);
    return { fields: isObject ? (whole as Record<string, unknown>) : null, truncated: false };
  }
  for (const repaired of repairs(text)) {
    const fields = tryParse(repaired);
    if (fields !== undefined) return { fields: fields as Record<string, unknown>, truncated: true };
  }
  return null;
}

/** Deeper texts are none of OpenCrow's. */
const MAX_DEPTH = 64;

interface Cut {
  /** Closing brackets still owed, innermost first. */
  owed: string;
  /** The text ends within a string: where that begins, and where its last whole character ends. */
  openString: { start: number; end: number } | null;
  /** Where the text can be cut so that only whole members stay, and what is owed there. */
  lastWhole: { at: number; owed: string } | null;
}

/** Texts that a cut-off object may be completed to, best first. */
function* repairs(text: string): Generator<string> {
  const cut = /^\s*\{/.test(text) ? scan(text) : null;
  if (cut === null || cut.owed === '') return;
  const { owed, openString, lastWhole } = cut;
  // Part of an error message is worth keeping; part of an identity or a code is another one.
  if (openString && owed.length > 1 && /"error"\s*:\s*$/.test(text.slice(0, openString.start))) {
    yield `${text.slice(0, openString.end)}"${owed}`;
  }
  // A number at the very end may lack digits; everything else that ends here is whole.
  if (!openString && /["}\]el]\s*$/.test(text)) yield text + owed;
  if (lastWhole) yield text.slice(0, lastWhole.at) + lastWhole.owed;
}

/** Walks through the text's brackets and strings; null when it is no JSON that was merely cut off. */
function scan(text: string): Cut | null {
  const stack: string[] = [];
  const owed = (): string => stack.toReversed().join('');
  let lastWhole: Cut['lastWhole'] = null;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at] as string;
    if (character === '"') {
      const end = endOfString(text, at + 1);
      if (!end.closed) return { owed: owed(), openString: { start: at, end: end.at }, lastWhole };
      at = end.at;
    } else if (character === '{' || character === '[') {
      stack.push(character === '{' ? '}' : ']');
      if (stack.length > MAX_DEPTH) return null;
    } else if (character === '}' || character === ']') {
      if (stack.pop() !== character) return null;
    } else if (character === ',') lastWhole = { at, owed: owed() };
  }
  return { owed: owed(), openString: null, lastWhole };
}

/** Where the string that is open at `at` closes, or where its last whole character ends if it does not. */
function endOfString(text: string, at: number): { at: number; closed: boolean } {
  while (at < text.length) {
    if (text[at] === '"') return { at, closed: true };
    const length = text[at] !== '\\' ? 1 : text[at + 1] === 'u' ? 6 : 2;
    if (at + length > text.length) return { at, closed: false };
    at += length;
  }
  return { at, closed: false };
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
