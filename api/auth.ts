import type { Request } from 'express';
import { Problem } from '../contracts/problems';
import type { TokenScope, WorkerScope } from '../contracts/terminology';
import type { Database } from '../ledger/database';
import { authenticateToken, type TokenPrincipal } from '../ledger/tokens';
import { authenticateWorker, type WorkerPrincipal } from '../ledger/workers';
import type { FailureBackoff } from './failure-backoff';

/**
 * Who may call a route.
 * - `none`: everybody
 * - `token`: API tokens with one of `scopes` (any token when there are none); `admin` and `operator` have all of a tenant's
 * - `admin`: API tokens with the scope `admin`, limited to their own tenant ({@link ownTenant}), or `operator`
 * - `operator`: API tokens with the scope `operator`
 * - `worker`: the credential of the worker that the path names, with `scope`
 */
export type Access =
  | { kind: 'none' }
  | { kind: 'token'; scopes: readonly TokenScope[] }
  | { kind: 'admin' }
  | { kind: 'operator' }
  | { kind: 'worker'; scope: WorkerScope };

/** Who calls, as far as the route wants to know. */
export type PrincipalFor<A extends Access> = A extends { kind: 'worker' }
  ? WorkerPrincipal
  : A extends { kind: 'none' }
    ? null
    : TokenPrincipal;

/** What authentication works with. */
export interface AuthContext {
  db: Database;
  backoff: FailureBackoff;
  /** Whether a request came in where operators' tokens are good. */
  servesOperators: (request: Request) => boolean;
}

/**
 * Lets a request in or throws: `auth.required` (401) for a bearer that is missing, unknown, revoked or expired, all alike;
 * `auth.scope_required` (403) for one of the wrong kind or without the scope; `auth.backoff` (429).
 */
export async function authorize(
  context: AuthContext,
  request: Request,
  access: Access,
): Promise<TokenPrincipal | WorkerPrincipal | null> {
  if (access.kind === 'none') return null;
  const principal = await authenticate(context, request);
  if (access.kind === 'worker') return worker(principal, access.scope, request.params.worker_id);
  if ('workerId' in principal) {
    throw new Problem('auth.scope_required', "A worker's credential opens only the worker's own routes.");
  }
  if (principal.scopes.includes('operator') && !context.servesOperators(request)) {
    throw new Problem('auth.scope_required', "Operators' tokens are good at the operators' address only.");
  }
  const wanted = access.kind === 'token' ? access.scopes : scopesOf(access.kind);
  if (!hasScope(principal, access.kind, wanted)) {
    throw new Problem('auth.scope_required', `The token needs the scope ${wanted.join(' or ')}.`, {
      extra: { scopes: wanted },
    });
  }
  return principal;
}

const scopesOf = (kind: 'admin' | 'operator'): readonly TokenScope[] =>
  kind === 'operator' ? ['operator'] : ['admin', 'operator'];

/** The tenant to whose pools and workers a caller of an `admin` route is limited; null: none, it is an operator. */
export const ownTenant = ({ scopes, tenantId }: TokenPrincipal): string | null =>
  scopes.includes('operator') ? null : tenantId;

async function authenticate(context: AuthContext, request: Request): Promise<TokenPrincipal | WorkerPrincipal> {
  const header = request.headers.authorization;
  const bearer = /^Bearer +([\x21-\x7e]+) *$/i.exec(header ?? '')?.[1] ?? '';
  const address = request.ip ?? '';
  const principal = bearer.startsWith('oww_')
    ? await authenticateWorker(context.db, bearer)
    : await authenticateToken(context.db, bearer);
  if (principal) return principal;
  if (header !== undefined) {
    context.backoff.check(address, bearer);
    context.backoff.failed(address, bearer);
  }
  throw new Problem(
    'auth.required',
    'A valid bearer token is needed: this one is missing, unknown, revoked or expired.',
  );
}

function worker(
  principal: TokenPrincipal | WorkerPrincipal,
  scope: WorkerScope,
  workerId: string | string[] | undefined,
): WorkerPrincipal {
  if (!('workerId' in principal) || principal.workerId !== workerId) {
    throw new Problem('auth.scope_required', 'This route opens only with the credential of the worker it names.');
  }
  if (!principal.scopes.includes(scope)) {
    throw new Problem('auth.scope_required', `The credential needs the scope ${scope}.`, {
      extra: { scopes: [scope] },
    });
  }
  return principal;
}

/** Whether a token has one of the scopes; `admin` and `operator` have all of a tenant's. */
export function hasScope(
  { scopes }: TokenPrincipal,
  kind: 'token' | 'admin' | 'operator',
  wanted: readonly TokenScope[],
): boolean {
  if (scopes.includes('operator')) return true;
  if (kind === 'operator') return false;
  return (
    (kind === 'token' && wanted.length === 0) ||
    scopes.includes('admin') ||
    wanted.some((scope) => scopes.includes(scope))
  );
}
