import fc from 'fast-check';
import { POOL_STATES } from '../../contracts/terminology';
import { parsePolicy } from '../../domain/policy/parse';
import type { PolicyInvalid } from '../../domain/policy/policy-invalid';
import { choosePool, type PoolCandidate } from '../../domain/pool-choice';
import { policyText } from '../support/policy';

const names = ['a', 'b', 'c'];
const some = fc.uniqueArray(fc.constantFrom(...names));
const requires = fc.record(
  {
    flags: some,
    profile: fc.constantFrom(...names),
    provider: fc.constantFrom(...names),
    region: fc.constantFrom('x', 'y'),
  },
  { requiredKeys: [] },
);
const candidate: fc.Arbitrary<PoolCandidate> = fc.record({
  poolId: fc.stringMatching(/^[a-z]{1,3}$/),
  status: fc.constantFrom(...POOL_STATES),
  tenants: fc.option(fc.uniqueArray(fc.constantFrom('mine', 'other'))),
  region: fc.option(fc.constantFrom('x', 'y')),
  capabilities: fc.oneof(
    fc.record({ flags: some, profiles: some, providers: some }, { requiredKeys: [] }),
    fc.constantFrom(null, 'a', ['a'], { flags: 'a' }, { profiles: { a: 1 } }, { flags: [null, 1] }),
  ),
  ready: fc.boolean(),
  queued: fc.nat(3),
});
const candidates = fc.uniqueArray(candidate, { selector: ({ poolId }) => poolId, maxLength: 8 });

/** Whether a pool may be chosen, told as the documentation tells it. */
function mayServe(
  pool: PoolCandidate,
  needs: { flags?: string[]; profile?: string; provider?: string; region?: string },
): boolean {
  const has = (field: string, name: string): boolean => {
    const list = (pool.capabilities as Record<string, unknown> | null)?.[field];
    return Array.isArray(list) && list.includes(name);
  };
  return (
    pool.status === 'active' &&
    (pool.tenants === null || pool.tenants.includes('mine')) &&
    (needs.flags ?? []).every((flag) => has('flags', flag)) &&
    (needs.profile === undefined || has('profiles', needs.profile)) &&
    (needs.provider === undefined || has('providers', needs.provider)) &&
    (needs.region === undefined || pool.region === needs.region)
  );
}

test('a pool is chosen exactly when one may serve, and none that may serve is better', () => {
  fc.assert(
    fc.property(requires, candidates, (needs, pools) => {
      const chosen = choosePool({ tenantId: 'mine', requires: needs }, pools);
      const able = pools.filter((pool) => mayServe(pool, needs));
      if (chosen === null) return expect(able).toEqual([]);
      const best = pools.find(({ poolId }) => poolId === chosen)!;
      expect(able).toContain(best);
      for (const other of able) {
        const worse =
          best.ready !== other.ready
            ? best.ready
            : best.queued !== other.queued
              ? best.queued < other.queued
              : best.poolId <= other.poolId;
        expect(worse).toBe(true);
      }
    }),
  );
});

test('the order in which pools are told makes no difference', () => {
  fc.assert(
    fc.property(requires, candidates, (needs, pools) => {
      const work = { tenantId: 'mine', requires: needs };
      expect(choosePool(work, [...pools].reverse())).toBe(choosePool(work, pools));
    }),
  );
});

describe('where a rule sends its work', () => {
  const parsed = (to: string, knownPools = ['default', 'other']) =>
    parsePolicy(policyText(`{ id: a, when: "true", decision: dispatch, to: ${to} }`), { knownPools }).policy;
  const destination = (to: string) => parsed(to).rules[0]!.snapshot.to;
  const faults = (to: string, knownPools?: string[]): string[] => {
    try {
      parsed(to, knownPools);
      return [];
    } catch (error) {
      return (error as PolicyInvalid).problems.map(({ pointer, detail }) => `${pointer} ${detail}`);
    }
  };

  test('is the default pool, the one it names, or one that is chosen by what it requires', () => {
    expect(destination('{}')).toEqual({ pool: 'default', executor: 'opencrow', priority: 3 });
    expect(destination('{ requires: { flags: [gpu] } }')).toEqual({
      pool: null,
      executor: 'opencrow',
      priority: 3,
      requires: { flags: ['gpu'] },
    });
    expect(destination('{ pool: other, requires: { region: eu } }')).toMatchObject({
      pool: 'other',
      requires: { region: 'eu' },
    });
    expect(faults('{ requires: { profile: triage } }', [])).toEqual([]);
    expect(faults('{}', ['other'])).toEqual(['/rules/0/to/pool there is no pool "default"; known: other']);
  });

  test.each([
    ['{}', ' requires nothing'],
    ['{ flags: [] }', ' requires nothing'],
    ['{ flags: [a, a] }', '/flags must not repeat an entry'],
    ['{ flags: [""] }', '/flags/0 must not be empty'],
    ['{ region: eu, gpu: true }', '/gpu unknown field'],
    ['{ region: "a\\nb" }', '/region must be one line of printable characters'],
  ])('requires: %s is refused', (requires, fault) => {
    expect(faults(`{ requires: ${requires} }`)).toEqual([`/rules/0/to/requires${fault}`]);
  });
});
