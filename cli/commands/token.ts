import { parseDuration } from '../../contracts/duration';
import { slug } from '../../contracts/ids';
import { TOKEN_SCOPES, type TokenScope } from '../../contracts/terminology';
import { createToken, listTokens, revokeToken } from '../../ledger/tokens';
import type { ConfigOf } from '../config';
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
