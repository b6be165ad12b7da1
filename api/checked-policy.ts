import { Problem } from '../contracts/problems';
import type { CompiledPolicy } from '../domain/policy/compile';
import { parsePolicy } from '../domain/policy/parse';
import { PolicyInvalid } from '../domain/policy/policy-invalid';
import { poolIds } from '../ledger/policies';
import type { RouteDeps } from './app-deps';

/** Checks a policy text; all that is wrong with it, by line and rule, is the problem `policy.invalid`. */
export async function checkedPolicy(deps: RouteDeps, tenantId: string, source: string): Promise<CompiledPolicy> {
  try {
    return parsePolicy(source, { knownPools: await poolIds(deps.db, tenantId) }).policy;
  } catch (error) {
    if (!(error instanceof PolicyInvalid)) throw error;
    throw new Problem('policy.invalid', 'The policy is refused as a whole; nothing has changed.', {
      errors: error.items(),
      extra: { problems: error.problems },
    });
  }
}
