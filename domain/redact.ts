const GONE = '[redacted]';

/** Words of names whose values are secret, wherever they stand in a name: `x-api-key`, `dbPassword`, `X-Amz-Signature`. */
const SECRET_WORDS =
  'token|secret|passw(?:or)?d|passphrase|pwd|api[_-]?key|access[_-]?key|private[_-]?key|account[_-]?key|signing[_-]?key|' +
  'encryption[_-]?key|credentials?|authorization|cookie|session[_-]?id|signature|jwt|bearer';
const SECRET_NAME = `[\\w.-]{0,64}(?:${SECRET_WORDS})[\\w.-]{0,64}`;
const VALUE = `"(?:[^"\\\\]|\\\\.)*"?|\\\\+"[^"\\\\]*(?:\\\\+")?|'[^']*'?|[^\\s,;&}\\])"']+`;

/** Each replaces what is secret and leaves what tells where it stood; in this order. */
const RULES: readonly [RegExp, string][] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, GONE],
  // Before names and values: `Authorization: Bearer x` has its secret in the second word.
  [/\b(Bearer|Basic|Digest|Negotiate)\s+[A-Za-z0-9+/=._~-]{3,}/gi, `$1 ${GONE}`],
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#"'<>]+@/gi, `$1${GONE}@`],
  [/([?&;](?:sig|sign|key|code|auth|pass)=)[^\s&"'<>]+/gi, `$1${GONE}`],
  [new RegExp(`(["'\\\\]*)\\b(${SECRET_NAME})\\1(\\s*(?:=>|[:=])\\s*)(?:${VALUE})`, 'gi'), `$1$2$1$3${GONE}`],
  // What looks like a secret by itself: ours, those of well-known services, JSON Web Tokens.
  [/\b(?:ow[a-z]|olt|whsec|sk|pk|rk|gh[a-z]|github_pat|glpat|xox[a-z]|npm|pypi|hf)[_-][A-Za-z0-9_-]{8,}/g, GONE],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b/g, GONE],
  [/\bAIza[A-Za-z0-9_-]{20,}/g, GONE],
  [/\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?/g, GONE],
  // Nothing that people write is this long without a space.
  [/\b(?=[A-Za-z0-9_-]*\d)(?=[A-Za-z0-9_-]*[A-Za-z])[A-Za-z0-9_-]{40,}/g, GONE],
];

/**
 * Text for people without what looks like a secret: tokens, `name: value` and JSON members with the name of a secret, passwords in
 * URLs and the signatures of signed ones. At most `max` characters. It is the one place for this; it may take away too much.
 */
export function redacted(text: string, max: number): string {
  const clean = RULES.reduce((rest, [pattern, by]) => rest.replaceAll(pattern, by), text);
  return clean.length <= max ? clean : `${clean.slice(0, max - 1)}…`;
}
