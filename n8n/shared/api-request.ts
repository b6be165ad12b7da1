/** A request to the service, before n8n adds base URL and token. */
export interface ApiRequest {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** From `/api` on, with escaped ids. */
  path: string;
  query?: Record<string, string | number>;
  headers?: Record<string, string>;
  body?: Record<string, unknown>;
}

/** What the service answered, whatever its status. */
export interface ApiAnswer {
  status: number;
  headers: Record<string, unknown>;
  body: unknown;
}

/** What a node asks wrongly, found before anything is sent. */
export class RequestError extends Error {}

/** Puts ids into a path: `` pathOf`/api/workloads/${id}/cancel` ``. Refuses an id that is empty. */
export function pathOf(parts: TemplateStringsArray, ...ids: string[]): string {
  return parts.reduce((path, part, index) => {
    const id = ids[index - 1] ?? '';
    if (id.trim() === '') throw new RequestError(`The path ${parts.join('…')} needs an id that is not empty`);
    return `${path}${encodeURIComponent(id)}${part}`;
  });
}

/** The object without members that are undefined, null or blank text. */
export function withoutBlanks(fields: Record<string, unknown>): Record<string, unknown> {
  const isBlank = (value: unknown): boolean => value === undefined || value === null || value === '';
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isBlank(value)));
}

/** Reads a JSON parameter, which n8n hands over as text or as what an expression gave. */
export function jsonOf(value: unknown, name: string): unknown {
  if (typeof value !== 'string') return value;
  const parsed = parsedOf(value);
  if (!parsed) throw new RequestError(`${name} is not valid JSON`);
  return parsed.value;
}

function parsedOf(text: string): { value: unknown } | null {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return null;
  }
}
