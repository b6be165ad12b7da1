/** What OpenCrow reads from a `workload.v1` line. */
export interface WorkloadMetadata {
  workload_id: string;
  event_id: string;
  source: string;
  action: string;
  response_policy: string;
}

/** How OpenCrow takes a line: as a workload, as a plain trigger, or as a plain trigger because its workload part is wrong. */
export type ParsedTrigger =
  { kind: 'workload'; metadata: WorkloadMetadata } | { kind: 'plain'; invalid: string | null };

const PREFIX = 'workload.v1 ';
const FIELDS = ['workload_id', 'event_id', 'source', 'action', 'response_policy'] as const;
const REQUIRED = ['workload_id', 'event_id', 'source', 'action'] as const;

/**
 * Parses a trimmed line by OpenCrow's rules, which are those of Go's `encoding/json`: field names match without regard to
 * case, a later duplicate wins, `null` leaves a field as it is, another type in one of the five fields is an error.
 */
export function parseTrigger(line: string): ParsedTrigger {
  if (!line.startsWith(PREFIX)) return { kind: 'plain', invalid: null };
  const json = goTrimSpace(line.slice(PREFIX.length));
  let whole: unknown;
  try {
    whole = JSON.parse(json);
  } catch {
    return { kind: 'plain', invalid: 'not JSON' };
  }
  if (typeof whole !== 'object' || Array.isArray(whole)) return { kind: 'plain', invalid: 'not an object' };
  const metadata: WorkloadMetadata = { workload_id: '', event_id: '', source: '', action: '', response_policy: '' };
  for (const [name, value] of whole === null ? [] : members(json)) {
    const field = FIELDS.find((known) => sameFolded(known, name));
    if (!field || value === null) continue;
    if (typeof value !== 'string') return { kind: 'plain', invalid: `${field} is no string` };
    metadata[field] = asGoString(value);
  }
  const missing = REQUIRED.find((field) => metadata[field] === '');
  return missing ? { kind: 'plain', invalid: `${missing} is required` } : { kind: 'workload', metadata };
}

/** Removes what Go's `strings.TrimSpace` removes; JavaScript's `trim` knows another set. */
export function goTrimSpace(text: string): string {
  const space = '[\\t\\n\\v\\f\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]';
  return text.replace(new RegExp(`^${space}+|${space}+$`, 'g'), '');
}

/** Simple Unicode case folding, as Go compares field names: `ſource` is `source`. */
function sameFolded(known: string, name: string): boolean {
  return new RegExp(`^${known}$`, 'iu').test(name);
}

/** Go decodes a lone surrogate escape to U+FFFD. */
function asGoString(text: string): string {
  return text.replace(/\p{Cs}/gu, '\uFFFD');
}

/** The top-level members of a valid JSON object in order, duplicates included. */
function* members(json: string): Generator<[string, unknown]> {
  let at = json.indexOf('{') + 1;
  while (json.indexOf('"', at) >= 0) {
    const nameStart = json.indexOf('"', at);
    const nameEnd = endOfValue(json, nameStart);
    const valueStart = json.indexOf(':', nameEnd) + 1;
    const valueEnd = endOfValue(json, valueStart);
    yield [
      asGoString(JSON.parse(json.slice(nameStart, nameEnd)) as string),
      JSON.parse(json.slice(valueStart, valueEnd)),
    ];
    at = valueEnd + 1;
  }
}

/** Where the value that starts at or after `at` ends, in valid JSON. */
function endOfValue(json: string, at: number): number {
  let depth = 0;
  for (; at < json.length; at += 1) {
    const character = json[at] as string;
    if (character === '"') {
      for (at += 1; json[at] !== '"'; at += 1) if (json[at] === '\\') at += 1;
      if (depth === 0) return at + 1;
    } else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') {
      if (depth === 0) return at;
      depth -= 1;
      if (depth === 0) return at + 1;
    } else if (character === ',' && depth === 0) return at;
  }
  return at;
}
