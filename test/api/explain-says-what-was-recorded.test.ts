import type { WorkloadExplanation } from '../../contracts/explanation';
import { anEvent, startTestApi, type TestApi } from '../support/api-server';
import { policyText, when } from '../support/policy';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
  await put(
    when('bots', 'event.data.user.endsWith("[bot]")', 'decision: deny'),
    when('mail', 'event.source == "mail"', 'decision: hold, dedupe: { key: "event.event_id" }'),
    when('deny-spam', 'event.data.kind == "spam"', 'decision: deny, reason: looks like spam'),
    when(
      'entries',
      'event.source == "rss" && event.data.kind == "entry"',
      `decision: dispatch, dedupe: { key: '"rss:" + event.data.id' }, to: { priority: 2 }, capabilities: [{ hook: context-rss, operations: [show], resources: ['"entry:" + event.data.id', { glob: "feed:*" }], max_uses: 3 }]`,
    ),
  );
});
afterAll(() => api.stop());

const put = async (...rules: string[]): Promise<void> => {
  const answer = await api.ask('PUT', '/api/policy', { json: { source: policyText(...rules) } });
  expect(answer.status).toBe(200);
};

async function decided(event: Record<string, unknown>): Promise<string> {
  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: event })).body;
  await api.admit(id);
  return id;
}

async function explain(id: string, token?: string): Promise<WorkloadExplanation> {
  const answer = await api.ask('GET', `/api/workloads/${id}/explain`, token === undefined ? {} : { token });
  expect(answer.status).toBe(200);
  return answer.body as unknown as WorkloadExplanation;
}

const entry = (id: string, more: object = {}) =>
  anEvent(`e-${id}`, { data: { user: 'ann', kind: 'entry', id, ...more } });

test('a dispatched event: every rule with its sentence, key, rule and outcome', async () => {
  const it = await explain(await decided(entry('1')));
  expect(it).toMatchObject({
    decision: { decision: 'dispatch', policy_said: 'dispatch', rule_id: 'entries', reason: 'entries' },
    recomputed: true,
    not_recomputed_because: null,
    dedupe: { key: 'rss:1', outcome: 'claimed', held_by: null, window_until: expect.any(String) },
    rule: { to: { pool: 'default', priority: 2 } },
    grants: [
      {
        hook: 'context-rss',
        kind: 'context',
        operations: ['show'],
        literals: ['entry:1'],
        globs: ['feed:*'],
        max_uses: 3,
        ttl_ms: 7_200_000,
      },
    ],
    outcome: { state: 'queued', closed: false, deliveries: 0 },
    replay_of: null,
    replays: [],
  });
  expect(it.policy!.policy_hash).toMatch(/^[0-9a-f]{64}$/);
  expect(it.rules.map(({ rule_id, outcome, text }) => [rule_id, outcome, text])).toEqual([
    ['bots', 'not_matched', 'did not match: `event.data.user.endsWith("[bot]")` is false'],
    ['mail', 'not_matched', 'did not match: `event.source == "mail"` is false'],
    ['deny-spam', 'not_matched', 'did not match: `event.data.kind == "spam"` is false'],
    ['entries', 'matched', 'matched'],
  ]);
  expect(it.summary.join('\n')).toContain('said dispatch by rule entries');
});

test('ignored, denied, duplicate and undecided events are explained too', async () => {
  const ignored = await explain(await decided(anEvent('ignored', { source: 'git', data: {} })));
  expect(ignored).toMatchObject({ decision: { decision: 'ignore', rule_id: null }, recomputed: true, dedupe: null });
  expect(ignored.rules[0]).toMatchObject({ outcome: 'error', error: 'no_such_key' });
  expect(ignored.summary.join('\n')).toContain('2 rules could not be evaluated and so did not match');

  const denied = await explain(await decided(entry('spam', { kind: 'spam' })));
  expect(denied).toMatchObject({
    decision: { decision: 'deny', reason: 'looks like spam' },
    outcome: { state: 'denied' },
  });
  expect(denied.rules.at(-1)).toMatchObject({ rule_id: 'entries', outcome: 'not_reached' });

  const winner = await decided(entry('twice'));
  const duplicate = await explain(await decided({ ...entry('twice'), event_id: 'another' }));
  expect(duplicate).toMatchObject({
    decision: { decision: 'duplicate', policy_said: 'dispatch' },
    recomputed: true,
    dedupe: {
      key: 'rss:twice',
      outcome: 'held',
      held_by: { workload_id: winner, state: 'queued' },
      window_until: null,
    },
  });
  expect(duplicate.summary.join('\n')).toContain(`held by ${winner} (queued now)`);

  const { workload_id: id } = (await api.ask('POST', '/api/events', { json: entry('undecided') })).body;
  expect(await explain(id)).toMatchObject({ decision: null, recomputed: false, not_recomputed_because: 'not_decided' });
});

test('what people decided afterwards is told by whom and why', async () => {
  const id = await decided(anEvent('held', { source: 'mail', data: { user: 'ann' } }));
  await api.ask('POST', `/api/workloads/${id}/deny`, { json: { reason: 'not on a Sunday' } });
  const it = await explain(id);
  expect(it).toMatchObject({ decision: { decision: 'hold' }, outcome: { state: 'denied' } });
  expect(it.afterwards).toEqual([
    {
      at: expect.any(String),
      type: 'workload.denied',
      actor: expect.stringMatching(/^token:/),
      reason: 'not on a Sunday',
    },
  ]);
  expect(it.summary.join('\n')).toMatch(/token:\w+ made it denied: not on a Sunday/);

  const trusted = await decided(entry('trusted'));
  await api.ask('POST', `/api/workloads/${trusted}/capabilities/revoke`, { json: { reason: 'odd calls' } });
  expect((await explain(trusted)).summary.join('\n')).toMatch(/token:\w+ revoked its capabilities: odd calls/);
});

test('the policy that decided is asked, not the one that is active now', async () => {
  const id = await decided(entry('old-policy'));
  const before = await explain(id);
  await put(when('nothing', 'event.source == "nowhere"'));
  expect(await explain(id)).toEqual(before);
});

test('when the body is pruned the recorded outcomes stand alone, and it says so', async () => {
  await put(when('one', 'event.data.missing == 1'), when('two', 'event.source == "rss"', 'decision: ignore'));
  const id = await decided(entry('pruned'));
  await api.db.query('UPDATE events SET body = NULL WHERE workload_id = $1', [id]);
  const it = await explain(id);
  expect(it).toMatchObject({ recomputed: false, not_recomputed_because: 'body_pruned', event: { body_kept: false } });
  expect(it.rules).toEqual([
    { rule_id: 'one', outcome: 'error', error: 'no_such_key', text: expect.stringContaining('cannot be evaluated') },
    { rule_id: 'two', outcome: 'matched', text: 'matched' },
  ]);
  expect(it.summary.join('\n')).toContain('no longer kept');
});

test.each([
  ['another rule', { rule_id: 'entries' }],
  ['another decision', { decision: 'deny' }],
  ['another reason', { reason: 'something else' }],
  ['another key', { dedupe_key: 'rss:other' }],
  ['another trace', { trace: '[{"ruleId":"one","outcome":"matched"}]' }],
])('it never says anything but the record: %s', async (name, columns) => {
  const id = await decided(entry(`differs-${name}`));
  for (const [column, value] of Object.entries(columns)) {
    await api.db.query(`UPDATE decisions SET ${column} = $2 WHERE workload_id = $1`, [id, value]);
  }
  const record = (await api.ask('GET', `/api/workloads/${id}`)).body.decision;
  const it = await explain(id);
  expect(it).toMatchObject({
    recomputed: false,
    not_recomputed_because: 'recomputation_differs',
    decision: { decision: record.decision, rule_id: record.rule_id, reason: record.reason },
  });
  expect(it.rules.map(({ rule_id, outcome }) => ({ rule_id, outcome }))).toEqual(
    record.trace.map(({ rule_id, outcome }) => ({ rule_id, outcome })),
  );
});

test('a stored policy whose text is not that of its hash explains nothing', async () => {
  await put(when('forged', 'event.source == "rss"'));
  const id = await decided(entry('forged'));
  await api.db.query(
    `UPDATE policies SET source = source || '# changed' WHERE policy_hash =
       (SELECT policy_hash FROM decisions WHERE workload_id = $1)`,
    [id],
  );
  expect(await explain(id)).toMatchObject({ recomputed: false, not_recomputed_because: 'policy_unreadable' });
});

test('it holds nothing of the data, opens with audit:read, and is the tenant’s own', async () => {
  const id = await decided(entry('secretive', { token: 'hunter2' }));
  const auditor = await api.newToken(['audit:read']);
  expect(JSON.stringify(await explain(id, auditor))).not.toContain('hunter2');
  const stranger = await api.newToken(['admin'], 'another');
  expect((await api.ask('GET', `/api/workloads/${id}/explain`, { token: stranger })).status).toBe(404);
});
