import { z } from 'zod';
import { Problem } from '../contracts/problems';
import { workloadId } from '../contracts/ids';

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
  throw new Problem('request.invalid', 'The cursor is none that this service has given.', {
    errors: [{ pointer: '/query/cursor', detail: 'is not a cursor of this list' }],
  });
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
