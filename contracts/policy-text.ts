import { z } from 'zod';

/** Characters of one CEL expression. */
export const MAX_EXPRESSION_CHARS = 8192;

/** Text that a database and a JSON document can hold: no NUL, no lone surrogates. */
export const policyText = (max: number, message = 'must be text') =>
  z
    .string(message)
    .min(1, 'must not be empty')
    .max(max, `must be at most ${max} characters`)
    .refine((value) => !/[\0\p{Cs}]/u.test(value), 'must not hold NUL or lone surrogates');

/** A CEL expression; what it says is checked when the policy is compiled. */
export const expression = policyText(MAX_EXPRESSION_CHARS, 'must be a CEL expression in quotes, e.g. "true"');

/**
 * Two ways to write a field: what is an object is judged by the one, all else by the other, so that complaints are about the
 * way that was meant.
 */
export const objectOr = <Entry, Other>(object: z.ZodType<Entry>, other: z.ZodType<Other>) =>
  z.unknown().transform((value, context): Entry | Other => {
    if (value === undefined) {
      context.addIssue({ code: 'custom', message: 'is required' });
      return z.NEVER;
    }
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    const parsed = (isObject ? object : other).safeParse(value);
    if (parsed.success) return parsed.data;
    for (const { path, message } of parsed.error.issues) context.addIssue({ code: 'custom', path, message });
    return z.NEVER;
  });
