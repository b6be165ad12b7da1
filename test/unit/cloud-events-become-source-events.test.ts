import type { IncomingMessage } from 'node:http';
import fc from 'fast-check';
import { readEvents } from '../../api/event-request';
import { sourceEvent } from '../../contracts/events';
import { Problem } from '../../contracts/problems';
import { bodyHash } from '../../domain/identity';

type Head = Pick<IncomingMessage, 'headers' | 'headersDistinct'>;
const head = (fields: Record<string, string | string[]>): Head => ({
  headers: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, String(value)])),
  headersDistinct: Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, [value].flat()])),
});
const read = (contentType: string, body: unknown, source?: string) =>
  readEvents(head({ 'content-type': contentType }), Buffer.from(JSON.stringify(body)), source);
const structured = (event: object) => read('application/cloudevents+json; charset=UTF-8', event).events[0]!;
const binary = (fields: Record<string, string | string[]>, body: string | Buffer = '') =>
  readEvents(head(fields), Buffer.from(body as string)).events[0]!;

const MINIMAL = { specversion: '1.0', id: '1', source: '/crm', type: 'crm.lead.created' };
const HEADERS = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/crm', 'ce-type': 'crm.lead.created' };

/** Where and why a request is refused. */
function refusal(work: () => unknown): string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof Problem) return [error.code, ...(error.errors ?? []).map(({ pointer }) => pointer)];
    throw error;
  }
  throw new Error('it was taken');
}

test('each attribute has its place', () => {
  const event = structured({
    ...MINIMAL,
    subject: 'lead/7',
    time: '2026-03-01T09:30:00+01:00',
    datacontenttype: 'application/json',
    dataschema: 'https://example.com/lead.json',
    traceparent: '00-aa-bb-01',
    partitionkey: 7,
    sampled: true,
    gone: null,
    data: { name: 'Ada' },
  });
  expect(event).toEqual({
    source: '/crm',
    action: 'crm.lead.created',
    event_id: '1',
    subject: 'lead/7',
    occurred_at: '2026-03-01T09:30:00+01:00',
    data: { name: 'Ada' },
    attributes: {
      traceparent: '00-aa-bb-01',
      partitionkey: 7,
      sampled: true,
      dataschema: 'https://example.com/lead.json',
    },
  });
  expect(structured({ ...MINIMAL, subject: null, time: null, data_base64: null })).toEqual({
    source: '/crm',
    action: 'crm.lead.created',
    event_id: '1',
    data: {},
  });
});

test.each<[string, object, object]>([
  ['nothing', {}, {}],
  ['null', { data: null }, {}],
  ['an object', { data: { a: [1] } }, { a: [1] }],
  ['an array', { data: [1, 2] }, { value: [1, 2] }],
  ['a JSON string', { data: 'seven' }, { value: 'seven' }],
  ['a text', { data: '<a/>', datacontenttype: 'application/xml' }, { text: '<a/>' }],
  ['bytes', { data_base64: 'AAEC', datacontenttype: 'image/png' }, { base64: 'AAEC' }],
  ['bytes of no type', { data_base64: 'AAEC' }, { base64: 'AAEC' }],
  ['text as bytes', { data_base64: 'aGk=', datacontenttype: 'text/plain' }, { text: 'hi' }],
  ['JSON as bytes', { data_base64: 'eyJhIjoxfQ==', datacontenttype: 'application/vnd.x+json' }, { a: 1 }],
])('data that is %s', (_name, fields, data) => {
  expect(structured({ ...MINIMAL, ...fields }).data).toEqual(data);
});

test.each<[string, string, string | Buffer, object]>([
  ['an object', 'application/json; charset=utf-8', '{"a":1}', { a: 1 }],
  ['an array', 'application/json', '[1]', { value: [1] }],
  ['text', 'text/plain', 'hi', { text: 'hi' }],
  ['anything else', 'application/octet-stream', Buffer.from([0, 1, 2]), { base64: 'AAEC' }],
  ['nothing', '', '', {}],
])('a binary-mode body that is %s', (_name, type, body, data) => {
  expect(binary({ ...HEADERS, ...(type && { 'content-type': type }) }, body).data).toEqual(data);
});

test('headers are unquoted and percent-decoded', () => {
  const event = binary({ ...HEADERS, 'ce-subject': '"a \\"b\\" %E2%82%AC"', 'ce-comexampleflag': 'true' });
  expect([event.subject, event.attributes]).toEqual(['a "b" €', { comexampleflag: 'true' }]);
});

test('the same event in structured and in binary mode, and as our own JSON, is the same event', () => {
  const printable = fc
    .string({ minLength: 1, maxLength: 30 })
    .map((text) => `x${text.replace(/\p{C}|[\u2028\u2029]/gu, '')}`);
  const data = fc.dictionary(fc.string(), fc.jsonValue({ depthSize: 'small' }), { maxKeys: 4 });
  fc.assert(
    fc.property(printable, printable, printable, printable, data, (id, source, type, subject, given) => {
      const payload = JSON.parse(JSON.stringify(given).replaceAll('-0', '0')) as object;
      const ours = sourceEvent.safeParse({ event_id: id, source, action: type, subject, data: payload });
      fc.pre(ours.success);
      const one = structured({ specversion: '1.0', id, source, type, subject, traceparent: 'a', data: payload });
      const two = binary(
        {
          'ce-specversion': '1.0',
          'ce-id': encodeURIComponent(id),
          'ce-source': encodeURIComponent(source),
          'ce-type': encodeURIComponent(type),
          'ce-subject': encodeURIComponent(subject),
          'ce-traceparent': 'b',
          'content-type': 'application/json',
        },
        JSON.stringify(payload),
      );
      expect({ ...one, attributes: null }).toEqual({ ...ours.data, attributes: null });
      expect({ ...two, attributes: null }).toEqual({ ...ours.data, attributes: null });
      // Another trace is no other event.
      expect(bodyHash(one)).toEqual(bodyHash(two));
      expect(bodyHash(one)).toEqual(bodyHash(ours.data));
    }),
  );
});

test.each<[string, object, string[]]>([
  ['another version', { specversion: '0.3' }, ['request.invalid', '/specversion']],
  ['no id', { id: undefined }, ['request.invalid', '/id']],
  ['an id that is too long', { id: 'x'.repeat(257) }, ['request.invalid', '/id']],
  ['a type that is no text', { type: 7 }, ['request.invalid', '/type']],
  ['a time that is none', { time: 'yesterday' }, ['request.invalid', '/time']],
  ['two kinds of data', { data: {}, data_base64: 'AAEC' }, ['request.invalid', '/data_base64']],
  ['base64 that is none', { data_base64: '***' }, ['request.invalid', '/data_base64']],
  [
    'bytes that are not their type',
    { data_base64: 'AAEC', datacontenttype: 'application/json' },
    ['request.invalid', '/data_base64'],
  ],
  ['data beyond the limits', { data: { n: 2 ** 60 } }, ['request.invalid', '/data']],
  ['an attribute that is no scalar', { trace: {} }, ['request.invalid', '/trace']],
  ['an attribute with a wrong name', { traceParent: 'x' }, ['request.invalid', '/traceParent']],
  ['an attribute with a wicked name', JSON.parse('{"__proto__":"x"}') as object, ['request.invalid', '/__proto__']],
])('%s is refused and named', (_name, fields, expected) => {
  const body = JSON.stringify({ ...MINIMAL, ...fields });
  expect(refusal(() => structured(JSON.parse(body) as object))).toEqual(expected);
});

test.each<[string, Record<string, string | string[]>, string | Buffer, string[]]>([
  ['no version', { 'ce-specversion': [] as string[] }, '', ['request.invalid', '/headers/ce-specversion']],
  ['an attribute that is there twice', { 'ce-id': ['1', '2'] }, '', ['request.invalid', '/headers/ce-id']],
  [
    'an attribute that is elsewhere',
    { 'ce-datacontenttype': 'text/plain' },
    '',
    ['request.invalid', '/headers/ce-datacontenttype'],
  ],
  ['raw bytes in a header', { 'ce-subject': 'Ã©' }, '', ['request.invalid', '/headers/ce-subject']],
  ['a broken escape', { 'ce-subject': '%E2%82' }, '', ['request.invalid', '/headers/ce-subject']],
  ['an encoded control character', { 'ce-subject': '%00' }, '', ['request.invalid', '/headers/ce-subject']],
  ['data beyond the limits', { 'content-type': 'application/json' }, '{"n":1e999}', ['request.invalid', '/data']],
  ['a body that is not JSON', { 'content-type': 'application/json' }, '{', ['request.malformed', '']],
  ['a body that is not UTF-8', { 'content-type': 'text/plain' }, Buffer.from([0xff]), ['request.malformed']],
])('binary mode: %s is refused and named', (_name, fields, body, expected) => {
  const given = { ...HEADERS, ...fields };
  const present = Object.fromEntries(Object.entries(given).filter(([, value]) => value.length > 0));
  expect(refusal(() => binary(present, body))).toEqual(expected);
});

test('a batch is read as a whole, and may be empty', () => {
  const type = 'application/cloudevents-batch+json';
  expect(read(type, [])).toEqual({ isBatch: true, events: [] });
  expect(read(type, [MINIMAL, { ...MINIMAL, id: '2' }]).events.map((each) => each.event_id)).toEqual(['1', '2']);
  expect(refusal(() => read(type, [MINIMAL, { ...MINIMAL, type: 7 }]))).toEqual(['request.invalid', '/1/type']);
  expect(refusal(() => read(type, Array(101).fill(MINIMAL)))).toEqual(['request.invalid', '']);
});

test('media types that are not understood are refused', () => {
  for (const type of ['application/cloudevents+avro', 'application/cloudevents', 'text/plain', '']) {
    expect(refusal(() => read(type, MINIMAL))).toEqual(['request.unsupported_media_type']);
  }
});

test('a source that is given takes the place of what is sent, or of nothing', () => {
  const mine = { event_id: '1', action: 'a' };
  expect(read('application/json', mine, 'forced').events[0]!.source).toBe('forced');
  expect(read('application/json', { ...mine, source: 'x' }, 'forced').events[0]!.source).toBe('forced');
  expect(read('application/cloudevents+json', MINIMAL, 'forced').events[0]!.source).toBe('forced');
  expect(readEvents(head(HEADERS), Buffer.alloc(0), 'forced').events[0]!.source).toBe('forced');
  expect(refusal(() => read('application/json', mine))).toEqual(['request.invalid', '/source']);
});
