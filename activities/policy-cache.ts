import type { CompiledPolicy } from '../domain/policy/compile';
import { evaluatePolicy } from '../domain/policy/evaluate';
import { parsePolicy } from '../domain/policy/parse';
import type { Evaluate, PolicyInForce } from '../ledger/admission';

const LIMIT = 64;

/** Compiled policies by hash; the oldest go first. */
export class PolicyCache {
  private readonly compiled = new Map<string, CompiledPolicy>();

  readonly evaluate: Evaluate = async (policy, event, tenant) =>
    evaluatePolicy(await this.compile(policy), event, { tenant });

  /** The policy, compiled; throws `PolicyInvalid` for a text that this version does not take. */
  readonly compile = async (inForce: Omit<PolicyInForce, 'version'>): Promise<CompiledPolicy> => {
    const { hash } = inForce;
    const known = this.compiled.get(hash);
    if (known) return known;
    const { policy } = parsePolicy(await inForce.source());
    const [oldest] = this.compiled.keys();
    if (this.compiled.size >= LIMIT && oldest !== undefined) this.compiled.delete(oldest);
    this.compiled.set(hash, policy);
    return policy;
  };
}
