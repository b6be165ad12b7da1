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
