import { setTimeout } from 'node:timers/promises';
import type { SourceEvent } from '../../contracts/events';
import type { PolicyDiff } from '../../contracts/policy-diff';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { parsePolicy } from '../../domain/policy/parse';
import { diffPolicy } from '../../ledger/policy-diff';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { policyOf, policyText, when } from '../support/policy';

let api: TestApi;
const tokens = new Map<string, string>();
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

/** A tenant with a policy and events of its own, each decided. */
async function tenantWith(name: string, rules: string[], events: Record<string, unknown>[]): Promise<string[]> {
  const token = await api.newToken(['admin'], name);
  tokens.set(name, token);
  await api.ask('PUT', '/api/policy', { token, json: { source: policyText(...rules) } });
  const ids: string[] = [];
  for (const event of events) {
    const { workload_id: id } = (await api.ask('POST', '/api/events', { token, json: event })).body;
    await api.admit(id);
    ids.push(id);
  }
  return ids;
}

const ask = (tenant: string, json: object) => api.ask('POST', '/api/policy/diff', { token: tokens.get(tenant)!, json });

async function diff(tenant: string, rules: string[], more: object = {}): Promise<PolicyDiff> {
  const answer = await ask(tenant, { candidate: policyText(...rules), ...more });
  expect([answer.status, answer.body.code]).toEqual([200, undefined]);
  return answer.body as unknown as PolicyDiff;
}

const entry = (id: string, data: object = {}) => anEvent(id, { data: { id, ...data } });
const dispatch = (rest: string) => when('entries', 'event.source == "rss"', `decision: dispatch, ${rest}`);
const KEYED = dispatch(`dedupe: { key: '"k:" + event.data.group' }`);

test('the policy that decided changes nothing: duplicates, denials, errors and defaults included', async () => {
  const rules = [
    when('odd', 'event.data.odd == true', 'decision: deny, reason: odd one'),
    when('mail', 'event.source == "mail"', 'decision: hold'),
    KEYED,
  ];
  await tenantWith('same', rules, [
    entry('1', { group: 'a', odd: false }),
    entry('2', { group: 'a', odd: false }),
    entry('3', { odd: true }),
    entry('4', { odd: false }),
    anEvent('5', { source: 'mail', data: {} }),
    anEvent('6', { source: 'git', data: {} }),
  ]);
  expect(await diff('same', rules)).toEqual({
    candidate: { policy_hash: parsePolicy(policyText(...rules)).policy.hash, rules: 3 },
    ...{ events: 6, judged: 6, changed: 0, not_judged: { body_pruned: 0, not_decided: 0 }, complete: true },
    ...{ oldest_at: expect.any(String), by_kind: {}, by_decision: [], changes: [], truncated: false },
  });
});

test('each change says what was, what would be, and what of it differs', async () => {
  const ids = await tenantWith(
    'changes',
    [KEYED],
    [entry('1', { group: 'a' }), entry('2', { group: 'a' }), entry('3', { group: 'b' })],
  );
  const it = await diff('changes', [
    when('not-b', 'event.data.group == "b"', 'decision: deny, reason: b is closed'),
    dispatch(`dedupe: { key: '"other:" + event.data.group', window: 1h }, to: { priority: 1 }, reason: anew`),
  ]);
  expect(it).toMatchObject({
    ...{ events: 3, judged: 3, changed: 3, truncated: false },
    by_kind: { decision: 1, rule_id: 1, reason: 3, dedupe_key: 3, priority: 3, dedupe: 3 },
    by_decision: [{ from: 'dispatch', to: 'deny', events: 1 }],
  });
  expect(it.changes.map(({ workload_id }) => workload_id)).toEqual([...ids].reverse());
  expect(it.changes[0]).toMatchObject({
    event_id: '3',
    recorded_decision: 'dispatch',
    from: {
      decision: 'dispatch',
      rule_id: 'entries',
      reason: 'entries',
      dedupe_key: 'k:b',
      pool: 'default',
      priority: 3,
    },
    to: { decision: 'deny', rule_id: 'not-b', reason: 'b is closed', dedupe_key: null, pool: null, priority: null },
  });
  // What is on record as a duplicate is compared by what the policy said of it.
  expect(it.changes[1]).toMatchObject({
    event_id: '2',
    recorded_decision: 'duplicate',
    changed: ['reason', 'dedupe_key', 'priority', 'dedupe'],
    from: { decision: 'dispatch', dedupe_key: 'k:a', terms: { dedupe: { window: 86_400_000 } } },
    to: { decision: 'dispatch', dedupe_key: 'other:a', terms: { dedupe: { window: 3_600_000 } } },
  });
});

test('of rules that make no work, only decision, id and reason count', async () => {
  await tenantWith('no-work', [when('a', 'true', 'decision: ignore, to: { priority: 1 }')], [entry('1')]);
  expect((await diff('no-work', [when('a', 'true', 'decision: ignore, to: { priority: 5 }')])).changed).toBe(0);
  expect((await diff('no-work', [when('b', 'true', 'decision: ignore')])).by_kind).toEqual({ rule_id: 1, reason: 1 });
});

test('what a tenant without a policy ignored is compared too', async () => {
  const token = await api.newToken(['admin'], 'bare');
  tokens.set('bare', token);
  const { workload_id: id } = (await api.ask('POST', '/api/events', { token, json: entry('1') })).body;
  await api.admit(id);
  expect((await diff('bare', [dispatch('reason: now')])).changes).toMatchObject([
    {
      from: { decision: 'ignore', rule_id: null, reason: 'no_policy' },
      to: { decision: 'dispatch', rule_id: 'entries' },
    },
  ]);
});

test('pruned and undecided events are counted, not guessed; the newest N are looked at', async () => {
  const ids = await tenantWith(
    'gaps',
    [dispatch('reason: old')],
    ['1', '2', '3', '4'].map((id) => entry(id)),
  );
  await api.db.query('UPDATE events SET body = NULL WHERE workload_id = $1', [ids[1]]);
  await api.ask('POST', '/api/events', { token: tokens.get('gaps')!, json: entry('5') });
  const it = await diff('gaps', [dispatch('reason: new')]);
  expect(it).toMatchObject({ events: 5, judged: 3, changed: 3, not_judged: { body_pruned: 1, not_decided: 1 } });
  const newest = await diff('gaps', [dispatch('reason: new')], { last: 2 });
  expect([newest.events, newest.changes.map(({ event_id }) => event_id)]).toEqual([2, ['4']]);
});

test('the list has a bound, the totals have not, and chunks neither lose nor repeat an event', async () => {
  await tenantWith(
    'many',
    [dispatch('reason: old')],
    Array.from({ length: 120 }, (_, index) => entry(`${index}`)),
  );
  const it = await diff('many', [dispatch('reason: new')], { max_changes: 7 });
  expect(it).toMatchObject({ events: 120, changed: 120, by_kind: { reason: 120 }, truncated: true });
  expect(it.changes).toHaveLength(7);
  const all = await diff('many', [dispatch('reason: new')], { max_changes: 1000 });
  expect(all.changes.map(({ event_id }) => Number(event_id))).toEqual(
    Array.from({ length: 120 }, (_, index) => 119 - index),
  );
});

test('a part too long to show is named all the same', async () => {
  await tenantWith('long', [dispatch('reason: r')], [entry('1')]);
  const prompt = (text: string) => dispatch(`reason: r, trigger: { prompt: ${text} }`);
  const short = await diff('long', [prompt('short')]);
  expect(short.changes[0]!.to.terms).toMatchObject({ trigger: { prompt: 'short' } });
  const it = await diff('long', [prompt('x'.repeat(1990))]);
  expect([it.changes[0]!.changed, it.changes[0]!.to.terms]).toEqual([['trigger'], { trigger: null }]);
});

test('only who may write policies tries one; a bad one is refused with all that is wrong', async () => {
  await tenantWith('guarded', [dispatch('reason: r')], []);
  const reader = await api.newToken(['workloads:read', 'audit:read', 'events:write'], 'guarded');
  const refused = await api.ask('POST', '/api/policy/diff', { token: reader, json: { candidate: policyText() } });
  expect(refused.status).toBe(403);
  const bad = await ask('guarded', { candidate: policyText(dispatch('to: { pool: nowhere }')) });
  expect([bad.status, bad.body.code]).toEqual([422, 'policy.invalid']);
  expect((await ask('guarded', { candidate: policyText(), last: 10_001 })).status).toBe(422);
});

/** Costs some milliseconds an event. */
const SLOW = when('slow', 'event.data.list.exists(a, event.data.list.exists(b, a + b == 1000.0))');
const slowEvents = (count: number) =>
  Array.from({ length: count }, (_, index) =>
    entry(`slow-${index}`, { list: Array.from({ length: 12 }, (_, n) => n) }),
  );

/** Milliseconds of CPU, since a busy machine may keep the whole process waiting. */
function cpuSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

test('others have their turn while it computes', async () => {
  await tenantWith('busy', [dispatch('reason: r')], slowEvents(60));
  const candidate = policyOf(SLOW);
  const before = process.cpuUsage();
  for (const event of slowEvents(50)) evaluatePolicy(candidate, event as unknown as SourceEvent, { tenant: 'busy' });
  const chunk = cpuSince(before);

  let running = true;
  let longest = 0;
  const watch = (async () => {
    while (running) {
      const turn = process.cpuUsage();
      await setTimeout(1);
      longest = Math.max(longest, cpuSince(turn));
    }
  })();
  const it = await diffPolicy(api.db, { tenantId: 'busy', candidate, last: 60, maxChanges: 0 });
  running = false;
  await watch;
  expect(it.judged).toBe(60);
  // Without a pause, a chunk of 50 would be judged in one go.
  expect(longest).toBeLessThan(chunk / 2);
});

test('when its time is over it says how far it came', async () => {
  const it = await diffPolicy(api.db, {
    tenantId: 'busy',
    candidate: policyOf(SLOW),
    last: 60,
    maxChanges: 0,
    budgetMs: 1,
  });
  expect(it.complete).toBe(false);
  expect(it.judged).toBeLessThan(60);
});

test('a tenant has one at a time; the next may come when it is done', async () => {
  const json = { candidate: policyText(SLOW), last: 60 };
  const answers = await Promise.all([ask('busy', json), ask('busy', json), ask('busy', json)]);
  expect(answers.map(({ status }) => status).sort()).toEqual([200, 429, 429]);
  const refused = answers.find(({ status }) => status === 429)!;
  expect([refused.body.code, refused.headers.get('retry-after')]).toEqual(['policy.diff_busy', '5']);
  expect((await ask('busy', { ...json, last: 1 })).status).toBe(200);
});
