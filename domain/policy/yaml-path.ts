/** Steps from the top of a document: field names and list indexes. */
export type Path = readonly PropertyKey[];

/** The id of the rule that a path leads into, if that rule has one. */
export function ruleIdAt(data: unknown, path: Path): string | null {
  if (path[0] !== 'rules' || path.length < 2) return null;
  const id = valueAt(data, [...path.slice(0, 2), 'id']);
  return typeof id === 'string' && id.length <= 64 ? id : null;
}

/** The value at a path of plain data; undefined where there is none. */
export function valueAt(data: unknown, path: Path): unknown {
  let value = data;
  for (const step of path) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, step)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[step];
  }
  return value;
}

/** A path as an RFC 6901 JSON pointer. */
export const pointerOf = (path: Path): string =>
  path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
