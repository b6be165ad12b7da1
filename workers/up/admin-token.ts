import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { Logger } from 'pino';
import { parseBearer } from '../../domain/secret';
import type { Database } from '../../ledger/database';
import { authenticateToken, createToken, listTokens } from '../../ledger/tokens';
import { writeSecretFile } from '../secret-file';

const TENANT = 'default';

/**
 * Path of the file with the admin token (all rights in tenant `default`, and the operator's). It is made, with a new token, when
 * it is missing or holds one that this ledger never issued. A token that was revoked stays revoked.
 */
export async function ensureAdminToken(db: Database, dataDir: string, logger: Logger): Promise<string> {
  const file = path.join(dataDir, 'admin.token');
  if (existsSync(file) && (await isKnown(db, readFileSync(file, 'utf8').trim(), logger))) return file;
  const { tokenId, plaintext } = await createToken(db, {
    tenantId: TENANT,
    name: 'admin of this data dir',
    scopes: ['admin', 'operator'],
    actor: 'up',
  });
  writeSecretFile(file, plaintext);
  logger.info({ token_id: tokenId, file }, 'an admin token was made');
  return file;
}

async function isKnown(db: Database, bearer: string, logger: Logger): Promise<boolean> {
  if (await authenticateToken(db, bearer)) return true;
  const id = parseBearer(bearer)?.id;
  const known = (await listTokens(db, TENANT)).some((token) => token.token_id === id);
  if (known)
    logger.warn({ token_id: id }, 'the admin token of this data dir was revoked; delete its file to get another one');
  return known;
}
