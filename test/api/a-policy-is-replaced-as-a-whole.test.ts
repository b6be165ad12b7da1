import { DISPATCH_ALL, startTestApi, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

const put = (source: string, type = 'application/yaml') =>
  api.ask('PUT', '/api/policy', { raw: source, headers: { 'content-type': type } });
const read = async (query = '') =>
  JSON.parse((await api.ask('GET', `/api/policy${query}`)).text) as Record<string, unknown>;

const RULES = `version: 1
default: { decision: ignore, reason: nobody-asked }
rules:
  - id: security
    when: event.source == "rss" && event.data.category == "Security"
    decision: dispatch
  - id: mail
    when: event.source == "mail"
    decision: hold
`;

test('versions count up, the same text changes nothing, earlier ones can be read', async () => {
  expect((await api.ask('GET', '/api/policy')).status).toBe(404);
  const first = await put(DISPATCH_ALL);
  expect([first.status, first.body]).toMatchObject([200, { version: 1, changed: true }]);
  expect((await put(DISPATCH_ALL, 'text/yaml; charset=utf-8')).body).toMatchObject({ version: 1, changed: false });
  const json = await api.ask('PUT', '/api/policy', { json: { source: RULES } });
  expect(json.body).toMatchObject({ version: 2, changed: true });
  expect(await read()).toMatchObject({ version: 2, source: RULES });
  expect(await read('?version=1')).toMatchObject({ version: 1, source: DISPATCH_ALL });
  expect((await api.ask('GET', '/api/policy?version=9')).status).toBe(404);
});

test('a wrong policy is refused with every problem by line and rule, and the old one stays', async () => {
  const before = await read();
  const wrong = await put(
    RULES.replace('hold', 'hold\n    colour: red').replace('event.source == "rss"', 'event.sorce == 1'),
  );
  expect([wrong.status, wrong.body.code]).toEqual([422, 'policy.invalid']);
  expect(wrong.body.errors).toEqual([
    { pointer: '/rules/0/when', detail: expect.stringMatching(/^line 5, .*rule security/) },
    { pointer: '/rules/1/colour', detail: expect.stringMatching(/^line 10, .*rule mail/) },
  ]);
  for (const source of [
    '',
    ': : :',
    'version: 1',
    `${RULES}  - { id: mail, when: "true", decision: deny }`,
    RULES.replace('hold', 'dispatch\n    to: { pool: nowhere }'),
  ]) {
    expect([source, (await put(source)).body.code]).toEqual([source, 'policy.invalid']);
  }
  expect((await put('version: 1', 'text/html')).status).toBe(415);
  expect(await read()).toEqual(before);
});

test('a dry run says which rule would match and why the others do not', async () => {
  const event = { source: 'rss', action: 'triage', event_id: '1', data: { category: 'Games' } };
  const evaluate = async (json: object) =>
    JSON.parse((await api.ask('POST', '/api/policy/evaluate', { json })).text) as object;
  expect(await evaluate({ event })).toMatchObject({
    policy_version: 2,
    decision: 'ignore',
    rule_id: null,
    reason: 'nobody-asked',
    rules: [
      {
        rule_id: 'security',
        outcome: 'not_matched',
        text: expect.stringContaining('event.data.category == "Security"'),
      },
      { rule_id: 'mail', outcome: 'not_matched' },
    ],
  });
  expect(await evaluate({ event, source: DISPATCH_ALL })).toMatchObject({
    policy_version: null,
    decision: 'dispatch',
    rule_id: 'everything',
  });
  expect(await evaluate({ event, source: 'nonsense' })).toMatchObject({ code: 'policy.invalid' });
  expect(await api.db.query('SELECT 1 FROM events')).toEqual([]);
});

test('without a policy a dry run says so', async () => {
  const token = await api.newToken(['admin'], 'empty');
  const json = { event: { source: 'a', action: 'b', event_id: 'c' } };
  const { text } = await api.ask('POST', '/api/policy/evaluate', { token, json });
  expect(JSON.parse(text)).toMatchObject({ decision: 'ignore', reason: 'no_policy', policy_version: null, rules: [] });
});
