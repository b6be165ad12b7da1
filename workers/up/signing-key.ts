import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { Secret } from '../../contracts/secret';
import { randomSecret } from '../../domain/secret';
import { writeSecretFile } from '../secret-file';

/** Path of a data dir's signing key. */
const signingKeyFile = (dataDir: string): string => path.join(dataDir, 'signing.key');

/** The data dir's own signing key, made when there is none: with another one all webhook secrets would change. */
export function ensureSigningKey(dataDir: string): () => Secret {
  const file = signingKeyFile(dataDir);
  if (!existsSync(file)) writeSecretFile(file, new Secret(randomSecret()));
  const key = new Secret(readFileSync(file, 'utf8').trim());
  return () => key;
}
