import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { Secret } from '../contracts/secret';

/** 256 random bits, base64url. */
export const randomSecret = (): string => randomBytes(32).toString('base64url');

/** What is stored of a secret. The secrets are 256 random bits, so a plain SHA-256 cannot be searched. */
export const secretHash = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/** Constant-time comparison of a presented secret with a stored hash. */
export const matchesHash = (presented: string, hash: Buffer): boolean =>
  hash.length === 32 && timingSafeEqual(secretHash(presented), hash);

/**
 * Bearers look like `<prefix>_<id>_<secret>`: the id names the row, the prefix helps secret scanners. `owt` is an API token,
 * `oww` a worker's credential, `owc` a capability, which opens no route.
 */
export type BearerPrefix = 'owt' | 'oww' | 'owc';

export const formatBearer = (prefix: BearerPrefix, id: string, secret: string): Secret =>
  new Secret(`${prefix}_${id}_${secret}`);

/** Splits a bearer; null for anything that this service cannot have issued. */
export function parseBearer(text: string): { prefix: BearerPrefix; id: string; secret: string } | null {
  const match = /^(owt|oww|owc)_([0-9a-z]{16})_([A-Za-z0-9_-]{43})$/.exec(text);
  return match ? { prefix: match[1] as BearerPrefix, id: match[2]!, secret: match[3]! } : null;
}

/** A new id for a token or credential. */
export const newBearerId = (): string => randomBytes(8).toString('hex');

/** Whether a token that was made elsewhere can be one of this service's: 32 to 512 printable characters, and of no form of its own. */
export const isImportable = (text: string): boolean => /^[\x21-\x7e]{32,512}$/.test(text) && !/^ow[a-z]_/.test(text);

/** The id of an imported token, found from the token alone. Ids made here are hexadecimal, so the two never meet. */
export const importedTokenId = (text: string): string => `i${secretHash(text).toString('hex').slice(0, 15)}`;
