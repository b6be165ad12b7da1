import net from 'node:net';
import { PROBLEMS } from '../../contracts/problems';
import { anEvent, startTestApi, type Ask, type TestApi } from '../support/api-server';

let api: TestApi;
beforeAll(async () => {
  api = await startTestApi();
});
afterAll(() => api.stop());

const withData = (data: string, eventId = 'x'): Ask => ({
  raw: `{"source":"rss","action":"triage","event_id":"${eventId}","data":${data}}`,
});
const nested = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels);

const CASES: [string, Ask, number, string, RegExp][] = [
  ['malformed JSON', { raw: '{"source": rss}' }, 400, 'request.malformed', /line 1, column 12/],
  ['an empty body', { raw: '', headers: { 'content-type': 'application/json' } }, 400, 'request.malformed', /line 1/],
  ['a name twice', { raw: '{\n"source":"a",\n"source":"b"}' }, 400, 'request.malformed', /twice at line 3, column 1/],
  ['invalid UTF-8', { raw: Buffer.from('{"source":"\xff"}', 'latin1') }, 400, 'request.malformed', /UTF-8/],
  ['an unknown field', { json: anEvent('x', { tenant: 'b' }) }, 400, 'request.unknown_field', /not known/],
  [
    'a prototype key beside the fields',
    { raw: '{"source":"a","action":"b","event_id":"c","__proto__":{}}' },
    400,
    'request.unknown_field',
    /not known/,
  ],
  ['a wrong type', { json: anEvent('x', { source: 7 }) }, 422, 'request.invalid', /breaks a rule/],
  ['a body that is no object', { json: [anEvent('x')] }, 422, 'request.invalid', /breaks a rule/],
  ['a missing field', { json: { source: 'rss', action: 'triage' } }, 422, 'request.invalid', /breaks a rule/],
  ['data that is no object', { json: anEvent('x', { data: [1] }) }, 422, 'request.invalid', /breaks a rule/],
  ['an id with a control character', { json: anEvent('a\u0007b') }, 422, 'request.invalid', /breaks a rule/],
  ['an id with NUL', { json: anEvent('a\0b') }, 422, 'request.invalid', /breaks a rule/],
  ['an id with a line separator', { json: anEvent('a\u2028b') }, 422, 'request.invalid', /breaks a rule/],
  [
    'an id with a lone surrogate',
    { raw: '{"source":"rss","action":"triage","event_id":"a\\ud800"}' },
    422,
    'request.invalid',
    /breaks a rule/,
  ],
  ['an id that is too long', { json: anEvent('x'.repeat(257)) }, 422, 'request.invalid', /breaks a rule/],
  ['a blank id', { json: anEvent('  ') }, 422, 'request.invalid', /breaks a rule/],
  [
    'a date that is none',
    { json: anEvent('x', { occurred_at: '2026-02-30T00:00:00Z' }) },
    422,
    'request.invalid',
    /breaks a rule/,
  ],
  ['a number past the safe range', withData('{"n":12345678901234567890}'), 422, 'request.invalid', /breaks a rule/],
  ['a number past all ranges', withData('{"n":1e999}'), 422, 'request.invalid', /breaks a rule/],
  ['nesting of 65 levels', withData(`{"n":${nested(65)}}`), 422, 'request.invalid', /breaks a rule/],
  ['nesting of 100,000 levels', withData(`{"n":${nested(100_000)}}`), 422, 'request.invalid', /deeper than 100/],
  ['an array of 10,001', withData(`{"n":[${'0,'.repeat(10_000)}0]}`), 422, 'request.invalid', /breaks a rule/],
  ['a body over 256 KiB', { raw: `{"source":"${'a'.repeat(256 * 1024)}"}` }, 413, 'request.too_large', /256 KiB/],
  [
    'another media type',
    { raw: '{}', headers: { 'content-type': 'text/plain' } },
    415,
    'request.unsupported_media_type',
    /application\/json/,
  ],
  [
    'another charset',
    { raw: '{}', headers: { 'content-type': 'application/json; charset=latin1' } },
    415,
    'request.unsupported_media_type',
    /UTF-8/,
  ],
  [
    'a compressed body',
    { raw: '{}', headers: { 'content-encoding': 'gzip' } },
    415,
    'request.unsupported_media_type',
    /ompressed/,
  ],
];

test.each(CASES)('%s', async (_name, ask, status, code, detail) => {
  const answer = await api.ask('POST', '/api/events', ask);
  expect([answer.status, answer.body.code]).toEqual([status, code]);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.body.detail).toMatch(detail);
  expect(answer.body.request_id).toBe(answer.headers.get('x-request-id'));
  expect(await api.db.query("SELECT 1 FROM events WHERE event_id IN ('x', 'c')")).toEqual([]);
});

test('what is missing is called missing, and a wrong type by the names of JSON', async () => {
  const { errors } = (await api.ask('POST', '/api/events', { json: { source: 7, action: 'triage', data: [] } })).body;
  expect(errors).toEqual([
    { pointer: '/source', detail: 'must be of type string, not number' },
    { pointer: '/event_id', detail: 'is missing' },
    { pointer: '/data', detail: expect.any(String) },
  ]);
  expect(JSON.stringify(errors)).not.toMatch(/undefined|Invalid input/);
});

test('legal extremes are accepted', async () => {
  const deep = await api.ask('POST', '/api/events', withData(`{"n":${nested(64)}}`, 'deep'));
  expect(deep.status).toBe(202);
  const wide = await api.ask('POST', '/api/events', withData(`{"n":[${'0,'.repeat(9_999)}0]}`, 'wide'));
  expect(wide.status).toBe(202);
});

test('an unknown path is 404, another method 405 with Allow, a path that cannot be decoded 400', async () => {
  expect((await api.ask('GET', '/api/nothing')).body.code).toBe('not_found');
  expect((await api.ask('GET', '/api/workloads/')).body.code).toBe('not_found');
  const wrong = await api.ask('PATCH', '/api/policy');
  expect([wrong.status, wrong.body.code, wrong.headers.get('allow')]).toEqual([
    405,
    'method_not_allowed',
    'GET, PUT, HEAD',
  ]);
  expect((await api.ask('GET', '/api/workloads/%ff')).body.code).toBe('request.malformed');
});

test('a query that is unknown, repeated or wrong is refused', async () => {
  expect((await api.ask('GET', '/api/workloads?sate=queued')).body.code).toBe('request.unknown_field');
  for (const query of [
    'state=odd',
    'limit=0',
    'limit=501',
    'limit=1&limit=2',
    'cursor=!!',
    'cursor=YWJj',
    `cursor=${Buffer.from(`["2026-02-30 00:00:00+00","wl_${'a'.repeat(32)}"]`).toString('base64url')}`,
    'since=yesterday',
    'source=%00',
  ]) {
    const answer = await api.ask('GET', `/api/workloads?${query}`);
    expect([query, answer.status, answer.body.code]).toEqual([query, 422, 'request.invalid']);
    expect(answer.body.errors[0]?.pointer).toMatch(/^\/query\//);
  }
});

test('a request id is taken when it is plain, else replaced', async () => {
  const plain = await api.ask('GET', '/livez', { headers: { 'X-Request-Id': 'abc-123' } });
  expect(plain.headers.get('x-request-id')).toBe('abc-123');
  for (const given of ['has space', 'x'.repeat(129), '"quoted"']) {
    const answer = await api.ask('GET', '/livez', { headers: { 'X-Request-Id': given } });
    expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  }
});

test('what is not HTTP, and a head that is too large, get a problem document too', async () => {
  expect(await rawAnswer('NONSENSE\r\n\r\n')).toMatch(
    /^HTTP\/1.1 400 [^]*application\/problem\+json[^]*request\.malformed/,
  );
  const head = await rawAnswer(`GET /livez HTTP/1.1\r\nHost: a\r\nX-Large: ${'a'.repeat(20_000)}\r\n\r\n`);
  expect(head).toMatch(/^HTTP\/1.1 431 [^]*request\.too_large/);
});

test('no error quotes what was sent, and no log line holds it', async () => {
  const secret = 'hunter2hunter2';
  const answers = await Promise.all([
    api.ask('POST', '/api/events', { raw: `{"source":"${secret}` }),
    api.ask('POST', '/api/events', { json: anEvent('x', { source: [secret] }) }),
    api.ask('GET', `/api/workloads?source=${secret}`),
    api.ask('GET', '/api/whoami', { token: secret }),
  ]);
  for (const { text } of answers.slice(0, 2)) expect(text).not.toContain(secret);
  expect(api.log.join('')).not.toContain(secret);
  expect(api.log.join('')).not.toContain(api.token);
});

test('every problem code of the service has an HTTP error status', () => {
  for (const status of Object.values(PROBLEMS)) expect(status).toBeGreaterThanOrEqual(400);
});

function rawAnswer(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(api.server.port, '127.0.0.1', () => socket.write(text));
    let answer = '';
    socket.setEncoding('utf8').on('data', (part: string) => (answer += part));
    socket.on('end', () => resolve(answer)).on('error', reject);
  });
}
