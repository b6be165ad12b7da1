import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { Secret } from '../../contracts/secret';

/** What an option is called everywhere: `--data-dir`, `WORKLOADD_DATA_DIR`, `dataDir` in code. */
interface OptionText {
  /** Meaning, in one or two sentences for people. */
  doc: string;
  /** Stands for the value in help texts; a switch has none. */
  placeholder: string | null;
  /** How a value that nobody gave is found, when it is no constant. */
  derived?: string;
}

/** One option of the service: its texts, its rule, its default. */
export interface Option<T> extends OptionText {
  kind: 'value' | 'switch';
  /** From text to value; its messages complete the sentence "<option> …". */
  schema: z.ZodType<T, string>;
  /** In the notation of the option; null when nothing is assumed. */
  default: string | null;
}

/** An option that must not be seen by others: never a flag, only a variable or a file. */
export interface SecretOption extends OptionText {
  kind: 'secret';
  schema: z.ZodType<string, string>;
  /** Further variables it is read from, after its own. */
  aliases: readonly string[];
}

/** Gives a secret. From a file, it is read again each time, so that a rotated one takes effect at once. */
export type SecretSource = () => Secret;

type Texts<T> = Omit<OptionText, 'placeholder'> & { schema: z.ZodType<T, string> };

/** An option that always has a value. */
export function withDefault<T>(placeholder: string, text: string, rest: Texts<T>): Option<T> {
  return { kind: 'value', placeholder, default: text, ...rest };
}

/** An option that may be missing. */
export function optional<T>(placeholder: string, rest: Texts<T>): Option<T | undefined> {
  return { kind: 'value', placeholder, default: null, ...rest };
}

/** An option that is off unless it is named (or its variable is `true`). */
export function toggle(doc: string): Option<boolean> {
  const schema = z.enum(['true', 'false'], 'must be true or false').transform((text) => text === 'true');
  return { kind: 'switch', placeholder: null, default: 'false', doc, schema };
}

/** An option that is read from a variable or a file only. */
export function secret(rest: Omit<SecretOption, 'kind' | 'placeholder'>): SecretOption {
  return { kind: 'secret', placeholder: 'FILE', ...rest };
}

/** `dataDir` → `data-dir`. */
export const flagOf = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** `dataDir` → `WORKLOADD_DATA_DIR`. */
export const variableOf = (name: string): string => `WORKLOADD_${flagOf(name).replaceAll('-', '_').toUpperCase()}`;

/** A secret's file without its final line break. */
export const readSecretFile = (path: string): string => readFileSync(path, 'utf8').replace(/\r?\n$/, '');

/** Reads a secret's file at each call; while it cannot be read, what it held last is given. */
export function secretFile(path: string, first: string): SecretSource {
  let known = first;
  return () => {
    try {
      known = readSecretFile(path);
    } catch {
      // In the middle of a rotation the file may be gone for a moment.
    }
    return new Secret(known);
  };
}
