import { z } from 'zod';

/** RFC 3339 with any offset, as UTC text of the same microsecond: a JavaScript date would lose three digits of it. */
export const instant = z.iso.datetime({ offset: true }).transform((text, context) => {
  const date = new Date(text);
  const year = date.getUTCFullYear();
  if (Number.isNaN(year) || year < 1 || year > 9999) {
    context.addIssue({ code: 'custom', message: 'must be in the years 1 to 9999' });
    return z.NEVER;
  }
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1] ?? '';
  return `${date.toISOString().slice(0, -1)}${micros}Z`;
});
