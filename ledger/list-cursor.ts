import { z } from 'zod';
import { Problem } from '../contracts/problems';
import { storableText, workloadId } from '../contracts/ids';

/** The last workload of a page. */
export interface ListCursor {
  /** As Postgres writes it: a JavaScript date would lose the microseconds. */
  acceptedAt: string;
  workloadId: string;
}

const cursorParts = z.tuple([
  z.string().regex(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-](0\d|1[0-4])(:[0-5]\d){0,2}$/),
  workloadId,
]);

/** An opaque text for callers. */
export const encodeCursor = ({ acceptedAt, workloadId: id }: ListCursor): string =>
  Buffer.from(JSON.stringify([acceptedAt, id])).toString('base64url');

/** The inverse of {@link encodeCursor}; anything else is the problem `request.invalid`. */
export function decodeCursor(text: string): ListCursor {
  const parts = cursorParts.safeParse(parseJson(Buffer.from(text, 'base64url').toString('utf8')));
  if (parts.success && isTimeText(parts.data[0])) {
    return { acceptedAt: parts.data[0], workloadId: parts.data[1] };
  }
  throw foreign();
}

const foreign = (): Problem =>
  new Problem('request.invalid', 'The cursor is none that this service has given.', {
    errors: [{ pointer: '/query/cursor', detail: 'is not a cursor of this list' }],
  });

const keysOf = (count: number) => z.array(storableText(256)).length(count);

/** An opaque text for the last entry of a page of a list that is sorted by texts. */
export const encodeKeys = (...keys: string[]): string => Buffer.from(JSON.stringify(keys)).toString('base64url');

/** The inverse of {@link encodeKeys} for `count` keys; anything else is the problem `request.invalid`. */
export function decodeKeys(text: string, count: number): string[] {
  const keys = keysOf(count).safeParse(parseJson(Buffer.from(text, 'base64url').toString('utf8')));
  if (keys.success) return keys.data;
  throw foreign();
}

/** Whether a text begins with a day and time that there are; `Date.parse` takes the 30th of February, which the ledger refuses. */
export function isTimeText(text: string): boolean {
  const at = new Date(`${text.slice(0, 10)}T${text.slice(11, 19)}Z`);
  return !Number.isNaN(at.getTime()) && at.toISOString().slice(0, 10) === text.slice(0, 10);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
