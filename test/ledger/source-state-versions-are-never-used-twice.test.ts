import fc from 'fast-check';
import { Problem } from '../../contracts/problems';
import { lockState, meets, preconditionFailed, writeState, type StateCondition } from '../../ledger/source-state';
import { forgetDeletedStates, stateOf, stateVersionsOf } from '../../ledger/source-state-queries';
import { eventually } from '../support/eventually';
import { FreshLedger, isBlocking, refusal } from '../support/fresh-ledger';

let ledger: FreshLedger;
beforeAll(async () => {
  ledger = await FreshLedger.open();
});
afterAll(() => ledger.close());

const nameOf = (source: string, key: string) => ({ tenantId: 'default', source, key });
const change = (source: string, key: string, condition: StateCondition, value: number | undefined): Promise<number> =>
  ledger.db.transaction(async (tx) => {
    const locked = await lockState(tx, nameOf(source, key));
    if (!meets(locked, condition)) throw preconditionFailed(locked);
    return (await writeState(tx, locked, value, 'test')).version;
  });
const forget = (): Promise<number> => forgetDeletedStates(ledger.db, 0, 100);

type Step = { key: string } & (
  { do: 'write' | 'delete'; condition: 'exists' | 'absent' | 'present' | 'stale' } | { do: 'forget' }
);
const key = fc.constantFrom('a', 'b');
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      key,
      do: fc.constant('write' as const),
      condition: fc.constantFrom('exists', 'absent', 'present', 'stale'),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      key,
      do: fc.constant('delete' as const),
      condition: fc.constantFrom('exists', 'present', 'stale'),
    }),
  },
  { weight: 2, arbitrary: fc.record({ key, do: fc.constant('forget' as const) }) },
);

test('whatever is written, deleted and forgotten in whatever order, versions only grow and stale ones never fit', async () => {
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      const source = `model-${(runs += 1)}`;
      const present = new Map<string, { version: number; value: number }>();
      const used = new Map<string, number[]>([
        ['a', []],
        ['b', []],
      ]);
      for (const [index, each] of steps.entries()) {
        if (each.do === 'forget') {
          await forget();
          continue;
        }
        const now = present.get(each.key);
        const past = used.get(each.key)!.filter((version) => version !== now?.version);
        const stale = past.at(-1) ?? 1_000_000;
        const condition: StateCondition =
          each.condition === 'present'
            ? { version: now?.version ?? stale }
            : each.condition === 'stale'
              ? { version: stale }
              : each.condition;
        const fits =
          condition === 'absent' ? !now : condition === 'exists' ? !!now : now?.version === condition.version;
        const value = each.do === 'write' ? index : undefined;
        const result = await change(source, each.key, condition, value).catch((error: unknown) => {
          if (error instanceof Problem) return error.code;
          throw error;
        });
        if (!fits) {
          expect(result).toBe('state.precondition_failed');
          continue;
        }
        expect(result).toBeGreaterThan(Math.max(0, ...used.get(each.key)!));
        used.get(each.key)!.push(result as number);
        if (value === undefined) present.delete(each.key);
        else present.set(each.key, { version: result as number, value });
      }
      for (const name of ['a', 'b']) {
        const found = await stateOf(ledger.db, nameOf(source, name));
        expect(found && { version: found.version, value: found.value }).toEqual(present.get(name) ?? null);
      }
    }),
    { numRuns: 60 },
  );
});

test('deleted keys are forgotten after their days, with their history; others stay', async () => {
  for (const name of ['old', 'recent', 'live']) await change('days', name, 'absent', 1);
  for (const name of ['old', 'recent']) await change('days', name, 'exists', undefined);
  await ledger.db.query(
    "UPDATE source_states SET updated_at = updated_at - interval '8 days' WHERE key IN ('old', 'live')",
  );
  expect(await forgetDeletedStates(ledger.db, 7, 100)).toBe(1);
  const kept = async (name: string) => (await stateVersionsOf(ledger.db, nameOf('days', name))).length;
  expect([await kept('old'), await kept('recent'), await kept('live')]).toEqual([0, 2, 1]);
  expect(await change('days', 'old', 'absent', 1)).toBe(3);
  expect(await change('days', 'another', 'absent', 1)).toBe(3);
});

test('a key that comes anew while others are forgotten is passed over, not waited for', async () => {
  await change('meet', 'k', 'absent', 1);
  await change('meet', 'k', 'exists', undefined);
  await ledger.db.transaction(async (tx) => {
    const locked = await lockState(tx, nameOf('meet', 'k'));
    expect((await writeState(tx, locked, 2, 'test')).version).toBe(3);
    await forget();
  });
  expect(await stateVersionsOf(ledger.db, nameOf('meet', 'k'))).toHaveLength(3);
});

test('of two that create a key at once the second waits and is refused', async () => {
  const { second } = await ledger.db.transaction(async (tx) => {
    const locked = await lockState(tx, nameOf('twice', 'k'));
    const waiting = refusal(change('twice', 'k', 'absent', 2));
    await eventually(() => isBlocking(tx), { interval: 5 });
    await writeState(tx, locked, 1, 'test');
    return { second: waiting };
  });
  expect(await second).toBe('state.precondition_failed');
});
