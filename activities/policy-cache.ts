import type { CompiledPolicy } from '../domain/policy/compile';
import { evaluatePolicy } from '../domain/policy/evaluate';
import { parsePolicy } from '../domain/policy/parse';
import type { Evaluate } from '../ledger/admission';

const LIMIT = 64;

/** Compiled policies by hash; the oldest go first. */
export class PolicyCache {
  private readonly compiled = new Map<string, CompiledPolicy>();

  readonly evaluate: Evaluate = (policy, event, tenant) =>
    evaluatePolicy(this.compile(policy.policy_hash, policy.source), event, { tenant });

  private compile(hash: string, source: string): CompiledPolicy {
    const known = this.compiled.get(hash);
    if (known) return known;
    const { policy } = parsePolicy(source);
    const [oldest] = this.compiled.keys();
    if (this.compiled.size >= LIMIT && oldest !== undefined) this.compiled.delete(oldest);
    this.compiled.set(hash, policy);
    return policy;
  }
}
