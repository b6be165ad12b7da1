import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { explainPolicy } from '../../domain/policy/explain';
import { parsePolicy } from '../../domain/policy/parse';
import { glob } from '../../domain/policy/glob';
import { eventOf, policyOf, when } from '../support/policy';

const tenant = 'default';

test('the first rule that is true decides, whatever stands below it', () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 12 }), (truths) => {
      const policy = policyOf(...truths.map((truth, at) => when(`r${at}`, `${truth}`)), when('last', 'false'));
      const { decision, ruleId, trace } = evaluatePolicy(policy, eventOf({}), { tenant });
      const first = truths.indexOf(true);
      expect(ruleId).toBe(first < 0 ? null : `r${first}`);
      expect(decision).toBe(first < 0 ? 'ignore' : 'dispatch');
      expect(trace.map(({ outcome }) => outcome)).toEqual(
        first < 0
          ? Array.from({ length: truths.length + 1 }, () => 'not_matched')
          : [...Array.from({ length: first }, () => 'not_matched'), 'matched'],
      );
    }),
  );
});

test('no rule: the default decides, with its reason', () => {
  const { policy } = parsePolicy('version: 1\ndefault: { decision: deny, reason: not here }\nrules: []');
  expect(evaluatePolicy(policy, eventOf({}), { tenant })).toEqual({
    decision: 'deny',
    ruleId: null,
    reason: 'not here',
    grants: [],
    run: null,
    rule: null,
    dedupeKey: null,
    trace: [],
  });
});

test.each([
  ['string(event.data.entry_id) == "1419"', { entry_id: 1419 }],
  ['string(event.data.price) == "1.5"', { price: 1.5 }],
  ['event.data.n == 1419 && event.data.n == 1419.0', { n: 1419 }],
  ['event.data.n in [1, 2]', { n: 2 }],
  ['event.data.n + 1.0 == 3.0 && int(event.data.n) + 1 == 3', { n: 2 }],
  ['int(event.data.n) % 2 == 1', { n: 3 }],
  ['event.data.n > 5', { n: 6 }],
  ['string(event.data.n) == "9007199254740991"', { n: 9007199254740991 }],
  ['event.data.?labels.orValue([]).size() == 0', {}],
  ['!has(event.subject) && !has(event.data.x)', {}],
  ['event.?subject.orValue("none") == "none"', {}],
  ['event.data.labels.exists(l, l.name == "urgent")', { labels: [{ name: 'a' }, { name: 'urgent' }] }],
  ['glob(event.data.ref, "refs/heads/release/*")', { ref: 'refs/heads/release/1.2' }],
  ['tenant == "default" && event.event_id == "e-1"', {}],
  [
    'event.data.at.startsWith("2026") && timestamp(event.data.at) > timestamp("2026-01-01T00:00:00Z")',
    { at: '2026-05-05T00:00:00Z' },
  ],
])('%s holds', (expression, data) => {
  expect(evaluatePolicy(policyOf(when('a', expression)), eventOf(data), { tenant }).trace).toEqual([
    { ruleId: 'a', outcome: 'matched' },
  ]);
});

test('keys that mean something to JavaScript are only keys', () => {
  const data = JSON.parse(
    '{"__proto__": {"admin": true}, "constructor": "c", "toString": 1, "hasOwnProperty": 2}',
  ) as object;
  const policy = policyOf(
    when('own', 'event.data["__proto__"].admin == true && event.data.constructor == "c" && event.data.toString == 1'),
  );
  expect(evaluatePolicy(policy, eventOf(data), { tenant }).ruleId).toBe('own');
  const inherited = policyOf(
    when('inherited', 'has(event.data.admin) || has(event.data.constructor) || has(event.data.valueOf)'),
  );
  expect(evaluatePolicy(inherited, eventOf({}), { tenant }).trace[0]!.outcome).toBe('not_matched');
});

test('glob agrees with the regular expression of the same meaning', () => {
  const chars = fc.constantFrom('a', 'b', '/', '.', '😀', '\ud800');
  const pattern = fc.array(fc.oneof(chars, fc.constantFrom('*', '?')), { maxLength: 8 });
  fc.assert(
    fc.property(fc.array(chars, { maxLength: 12 }), pattern, (text, tokens) => {
      const source = tokens
        .map((token) => (token === '*' ? '.*' : token === '?' ? '.' : token.replace(/[/.]/, '\\$&')))
        .join('');
      expect(glob(text.join(''), tokens.join(''))).toBe(new RegExp(`^${source}$`, 'su').test(text.join('')));
    }),
    { numRuns: 500 },
  );
});

describe('explanations', () => {
  const policy = policyOf(
    when('a', 'event.source == "rss" && event.data.kind == "secret-word" && event.action == "x"'),
    when('b', 'event.source == "rss" && (event.action == "x" || event.data.missing == 1)'),
    when('c', '!(event.source == "rss")'),
    when('d', 'event.source == "rss"'),
    when('e', 'true'),
  );

  test('name the first part that was not true, and never a value of the event', () => {
    const { rules, evaluation } = explainPolicy(policy, eventOf({ kind: 'PRIVATE' }), { tenant });
    expect(evaluation.ruleId).toBe('d');
    expect(rules.map(({ ruleId, outcome, text }) => [ruleId, outcome, text])).toEqual([
      ['a', 'not_matched', 'did not match: `event.data.kind == "secret-word"` is false'],
      [
        'b',
        'error',
        expect.stringMatching(
          /^did not match: `event\.action == "x" \|\| event\.data\.missing == 1` cannot be evaluated \(no_such_key\): /,
        ),
      ],
      ['c', 'not_matched', 'did not match: `!(event.source == "rss")` is false'],
      ['d', 'matched', 'matched'],
      ['e', 'not_reached', 'not reached: an earlier rule matched'],
    ]);
    expect(JSON.stringify(rules)).not.toContain('PRIVATE');
  });

  test('agree with the evaluation on any data', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom('kind', 'missing', 'constructor'), fc.jsonValue()), (data) => {
        const { rules, evaluation } = explainPolicy(policy, eventOf(data), { tenant });
        expect(rules.slice(0, evaluation.trace.length).map(({ ruleId, outcome }) => ({ ruleId, outcome }))).toEqual(
          evaluation.trace.map(({ ruleId, outcome }) => ({ ruleId, outcome })),
        );
      }),
    );
  });
});

describe('the example policy', () => {
  const { policy } = parsePolicy(readFileSync(join(__dirname, '../../examples/policy.yaml'), 'utf8'), {
    knownPools: ['default'],
  });
  const github = { repository: { full_name: 'acme/api' }, sender: { login: 'ana' }, number: 12 };
  const pull = { ...github, pull_request: { draft: false, head_sha: 'abc' } };
  const mail = { from: 'Ana@Acme.example', subject: 'Lunch', message_id: 'm1' };
  test.each([
    ['github', 'pull_request.opened', pull, 'dispatch', 'github-review', 'github:pr:acme/api#12@abc'],
    ['github', 'pull_request.opened', { ...pull, sender: { login: 'dependabot[bot]' } }, 'ignore', 'github-bots', null],
    ['github', 'pull_request.opened', { ...pull, pull_request: { draft: true } }, 'ignore', null, null],
    ['github', 'issues.opened', github, 'dispatch', 'github-triage', 'github:issue:acme/api#12'],
    ['github', 'push', { ref: 'refs/heads/main' }, 'ignore', 'github-push-main', null],
    ['rss', 'triage', { entry_id: 1419, category: 'Security' }, 'dispatch', 'triage-starred-rss', 'rss:1419'],
    ['rss', 'triage', { entry_id: 1419, category: 'Fun' }, 'ignore', null, null],
    [
      'slack',
      'reaction_added',
      { reaction: 'eyes', channel: 'eng-api', message_ts: '1.2' },
      'dispatch',
      'slack-reaction',
      'slack:eng-api:1.2',
    ],
    ['mail', 'flagged', mail, 'dispatch', 'mail-flagged', 'mail:m1'],
    ['mail', 'flagged', { ...mail, subject: 'Your INVOICE' }, 'hold', 'mail-sensitive', 'mail:m1'],
    ['mail', 'flagged', { ...mail, from: 'eve@evil.example' }, 'deny', 'mail-external-sender', null],
    ['mail', 'flagged', { subject: 'no sender', message_id: 'm2' }, 'deny', 'mail-external-sender', null],
    [
      'vikunja',
      'task.created',
      { task_id: 7, labels: ['agent'], done: false },
      'dispatch',
      'vikunja-agent-task',
      'vikunja:7',
    ],
    ['vikunja', 'task.created', { task_id: 7, done: false }, 'ignore', null, null],
    ['routine', 'routine.check', { check: 'disk', host: 'a' }, 'dispatch', 'routine-check', 'routine:disk'],
  ])('%s %s', (source, action, data, decision, ruleId, dedupeKey) => {
    expect(evaluatePolicy(policy, eventOf(data, { source, action }), { tenant })).toMatchObject({
      decision,
      ruleId,
      dedupeKey,
    });
  });
});
