import { z } from 'zod';
import { storableText } from '../contracts/ids';

/** Why an operator does something; kept in the audit. 1–1,000 characters, not blank. */
export const operatorReason = storableText(1000)
  .min(1)
  .refine((value) => value.trim() !== '', 'must not be blank')
  .meta({
    pattern: '^[^\\u0000]*\\S[^\\u0000]*$',
    description: 'Why; kept in the audit.',
    example: 'duplicate of an order by phone',
  });

/** Headers of what may be repeated by its key. */
export const idempotencyHeaders = z.object({
  'Idempotency-Key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/, 'must be 1 to 255 printable ASCII characters')
    .optional()
    .meta({ description: 'Repeats with the same key and body get the first answer; with another body 409.' }),
});

/** `limit` of a list, as text. */
export const pageLimit = z
  .string()
  .regex(/^([1-9]|[1-9][0-9]|[1-4][0-9]{2}|500)$/, 'must be a whole number from 1 to 500')
  .default('50')
  .meta({ description: '1 to 500, default 50.' });

/** `cursor` of a list whose cursors have at most `maxChars` characters; which ones it gave, the list itself knows. */
export const pageCursor = (maxChars: number) =>
  z
    .string()
    .max(maxChars)
    .regex(/^[A-Za-z0-9_-]+$/, 'is not a cursor of this list')
    .optional()
    .meta({ description: '`next_cursor` of the page before.' });
