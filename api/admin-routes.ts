import type { AdminContext } from '../ledger/pools';
import type { TokenPrincipal } from '../ledger/tokens';
import { ownTenant } from './auth';

/** What every route of kind `admin` is. */
export const ADMIN = { kind: 'admin' } as const;

/** Who manages, as the ledger wants to know it. */
export const adminOf = (principal: TokenPrincipal): AdminContext & { owner: string | null } => ({
  actor: `token:${principal.tokenId}`,
  owner: ownTenant(principal),
});
