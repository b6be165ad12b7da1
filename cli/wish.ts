import type { z } from 'zod';
import { CommandFailed, EXIT } from './exit-codes';

/** What arguments and options ask for, checked by the rules that the api has; says which field breaks which rule. */
export function checkedWish<Wish extends z.ZodType>(schema: Wish, wish: object): z.output<Wish> {
  const given = Object.fromEntries(Object.entries(wish).filter(([, value]) => value !== undefined));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const broken = parsed.error.issues.map(
    ({ path, message }) => `${path.map(String).join('/').replaceAll('_', ' ')}: ${message}`,
  );
  throw new CommandFailed(broken.join('\n'), EXIT.usage);
}
