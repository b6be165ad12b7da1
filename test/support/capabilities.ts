import type { AuthorizeRequest, CapabilityGrant } from '../../contracts/capabilities';
import { authorizeCapability, type Authorization } from '../../ledger/capability-authorize';
import type { FreshLedger } from './fresh-ledger';

/** A grant: hook `ctx`, operation `show`, resource `entry:1`, five uses, two hours, unless told otherwise. */
export const grantOf = (fields: Partial<CapabilityGrant> = {}): CapabilityGrant => ({
  hook: 'ctx',
  kind: 'context',
  operations: ['show'],
  literals: ['entry:1'],
  globs: [],
  max_uses: 5,
  ttl: 7_200_000,
  ...fields,
});

/** Asks what {@link grantOf} allows, unless told otherwise, as a caller of tenant `default`. */
export const askFor = (
  ledger: Pick<FreshLedger, 'db'>,
  token: string,
  {
    tenantId = 'default',
    actor = 'token:hook',
    ...fields
  }: Partial<AuthorizeRequest> & { tenantId?: string; actor?: string } = {},
): Promise<Authorization> =>
  authorizeCapability(
    ledger.db,
    { tenantId, actor },
    { token, hook: 'ctx', kind: 'context', operation: 'show', resource: 'entry:1', ...fields },
  );

/** What an attempt came to in a word: `allowed`, or the reason. */
export const verdictOf = (answer: Authorization): string => (answer.allowed ? 'allowed' : answer.reason);
