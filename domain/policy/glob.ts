/** Longest pattern that `glob()` takes, in characters. */
export const MAX_GLOB_CHARS = 128;

/**
 * Whether the whole text matches the pattern: `*` is any run of characters (none and `/` included), `?` is one character, all
 * else is itself. Case-sensitive; there is no escape. Takes at most text × pattern steps, so linear in the text.
 */
export function glob(text: string, pattern: string): boolean {
  const [chars, tokens] = [[...text], [...pattern]];
  let at = 0;
  let token = 0;
  let star = -1;
  let resume = 0;
  while (at < chars.length) {
    if (tokens[token] === '*') {
      star = token;
      token += 1;
      resume = at;
    } else if (token < tokens.length && (tokens[token] === '?' || tokens[token] === chars[at])) {
      at += 1;
      token += 1;
    } else if (star >= 0) {
      // Only the last star may need to take more: an earlier one already found the leftmost fit.
      resume += 1;
      at = resume;
      token = star + 1;
    } else {
      return false;
    }
  }
  while (tokens[token] === '*') token += 1;
  return token === tokens.length;
}
