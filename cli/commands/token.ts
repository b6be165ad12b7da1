import { parseDuration } from '../../contracts/duration';
import { slug } from '../../contracts/ids';
import { TOKEN_SCOPES, type TokenScope } from '../../contracts/terminology';
import { isImportable } from '../../domain/secret';
import { authenticateToken, createToken, importToken, listTokens, revokeToken } from '../../ledger/tokens';
import type { ConfigOf } from '../config';
import { readSecretFile } from '../config/option';
import { CommandFailed, EXIT } from '../exit-codes';
import { withLedger } from '../ledger-access';
import { handOut, requireOutput, type SecretOutput } from '../secret-output';
import { table } from '../table';

const DAY_MS = 86_400_000;

/** Arguments of `token create`. */
export interface TokenArguments extends SecretOutput {
  tenant: string;
  name: string;
  scopes: string;
  expires?: string | undefined;
}

/** `workloadd token create` */
export async function runTokenCreate(config: ConfigOf<'token create'>, args: TokenArguments): Promise<void> {
  requireOutput(args);
  const token = {
    tenantId: tenantOf(args.tenant),
    name: args.name,
    scopes: scopesOf(args.scopes),
    ...lifeOf(args.expires),
  };
  const { tokenId, plaintext } = await withLedger(config, (db) => createToken(db, token));
  handOut(plaintext, args, `token ${tokenId} of tenant ${token.tenantId}`);
}

/** Arguments of `token import`. */
export interface TokenImportArguments {
  tenant: string;
  name: string;
  scopes: string;
  file: string;
}

/** `workloadd token import` */
export async function runTokenImport(config: ConfigOf<'token import'>, args: TokenImportArguments): Promise<void> {
  const token = { tenantId: tenantOf(args.tenant), name: args.name, scopes: scopesOf(args.scopes) };
  const bearer = tokenIn(args.file);
  const inForce = await withLedger(config, async (db) =>
    isImportable(bearer)
      ? (await importToken(db, token, bearer)).inForce
      : (await authenticateToken(db, bearer))?.tenantId === token.tenantId,
  );
  if (!inForce)
    throw new CommandFailed(
      `the token in ${args.file} is revoked, or not of tenant ${token.tenantId}: put another one there`,
    );
  console.log(`the token in ${args.file} is in force, tenant ${token.tenantId}`);
}

function tokenIn(file: string): string {
  let text: string;
  try {
    text = readSecretFile(file).trim();
  } catch (error) {
    throw new CommandFailed(
      `--file cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'})`,
      EXIT.usage,
    );
  }
  if (isImportable(text) || text.startsWith('owt_')) return text;
  throw new CommandFailed('--file must hold a token of 32 to 512 printable characters, without spaces', EXIT.usage);
}

/** `workloadd token list` */
export async function runTokenList(config: ConfigOf<'token list'>, args: { tenant?: string }): Promise<void> {
  const tokens = await withLedger(config, (db) => listTokens(db, args.tenant));
  const rows = tokens.map((token) => [
    token.token_id,
    token.tenant_id,
    token.name,
    token.scopes.join(','),
    token.revoked_at ? `revoked ${token.revoked_at.toISOString()}` : (token.expires_at?.toISOString() ?? 'never'),
  ]);
  console.log(table(['TOKEN', 'TENANT', 'NAME', 'SCOPES', 'EXPIRES'], rows));
}

/** `workloadd token revoke` */
export async function runTokenRevoke(config: ConfigOf<'token revoke'>, tokenId: string): Promise<void> {
  const revoked = await withLedger(config, (db) => revokeToken(db, tokenId));
  if (!revoked)
    throw new CommandFailed(`there is no token ${JSON.stringify(tokenId)} in force: see \`workloadd token list\``);
  console.log(`token ${tokenId} is revoked`);
}

function tenantOf(text: string): string {
  if (slug.safeParse(text).success) return text;
  throw new CommandFailed('--tenant must be lower case letters, digits, "-", "_" or "."', EXIT.usage);
}

function scopesOf(text: string): TokenScope[] {
  const scopes = [...new Set(text.split(',').map((scope) => scope.trim()))];
  const unknown = scopes.find((scope) => !(TOKEN_SCOPES as readonly string[]).includes(scope));
  if (unknown === undefined) return scopes as TokenScope[];
  throw new CommandFailed(
    `--scopes has no scope ${JSON.stringify(unknown)}; there are ${TOKEN_SCOPES.join(', ')}`,
    EXIT.usage,
  );
}

function lifeOf(text: string | undefined): { ttlDays?: number } {
  if (text === undefined) return {};
  const milliseconds = parseDuration(text);
  if (milliseconds !== null && milliseconds > 0) return { ttlDays: milliseconds / DAY_MS };
  throw new CommandFailed('--expires must be a duration such as 90d or 12h', EXIT.usage);
}
