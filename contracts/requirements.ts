import { z } from 'zod';
import { policyText } from './policy-text';

/** Bounds of what a rule requires and of what pools and workers declare to meet it. */
const REQUIREMENT_LIMITS = { flags: 32, nameChars: 128 } as const;

const name = policyText(REQUIREMENT_LIMITS.nameChars).refine(
  (value) => !/[\p{Cc}\p{Zl}\p{Zp}]/u.test(value),
  'must be one line of printable characters',
);

/** A rule's `to.requires`: what a worker must have declared, by itself or by its pool, to be given the work. */
export const requirements = z
  .strictObject({
    /** All of these, at most 32. */
    flags: z
      .array(name)
      .max(REQUIREMENT_LIMITS.flags)
      .refine((list) => new Set(list).size === list.length, 'must not repeat an entry')
      .optional(),
    profile: name.optional(),
    provider: name.optional(),
    /** Of the worker; of its pool where the worker has none. */
    region: name.optional(),
  })
  .refine((given) => Object.values(given).some((value) => value !== undefined && value.length > 0), 'requires nothing')
  .meta({ id: 'Requirements' });

/** What a worker must have declared; what is absent is not asked for. */
export interface Requirements {
  flags?: string[] | undefined;
  profile?: string | undefined;
  provider?: string | undefined;
  region?: string | undefined;
}
