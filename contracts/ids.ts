import { z } from 'zod';

/** 1–256 printable characters: no control characters, no lone surrogates, no line separators. */
const UNPRINTABLE = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]/u;

/** An identifier given by the outside: 1–256 printable characters, not blank. */
export const externalId = z
  .string()
  .min(1)
  .max(256)
  .refine((value) => !UNPRINTABLE.test(value), 'must be printable characters')
  .refine((value) => value.trim().length > 0, 'must not be blank')
  .meta({
    pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*\\S[^\\u0000-\\u001f\\u007f-\\u009f\\u2028\\u2029]*$',
  });

/** Free text that a database and a JSON document can hold: no NUL, no lone surrogates. */
export const storableText = (max: number) =>
  z
    .string()
    .max(max)
    .refine((value) => !/[\0\p{Cs}]/u.test(value), 'must not hold NUL or lone surrogates');

/** A name chosen by an operator: lower case letters, digits, `-`, `_`, `.`; 1–64 characters, starts with a letter or digit. */
export const slug = z
  .string()
  .max(64)
  .regex(/^[a-z0-9][a-z0-9._-]*$/, 'must be lower case letters, digits, "-", "_" or "."');

/** Id of a workload: `wl_` and 32 base32 characters. */
export const workloadId = z.string().regex(/^wl_[a-z2-7]{32}$/, 'must be a workload id (wl_…)');
