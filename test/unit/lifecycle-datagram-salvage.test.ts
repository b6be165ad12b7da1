import fc from 'fast-check';
import { lifecycleBatch } from '../../contracts/lifecycle';
import { parseLifecycleDatagram } from '../../executors/opencrow/lifecycle-datagram';

const failed = {
  version: 1,
  type: 'workload.lifecycle',
  event_id: 'opencrow:crow1:12:3:failed',
  workload_id: 'wl_aaaa~2',
  source_event_id: 'ev-1',
  source: 'rss',
  action: 'triage',
  status: 'failed',
  occurred_at: '2026-11-21T08:00:22.982182126Z',
  opencrow_instance: 'crow1',
  inbox_id: 12,
  attempt: 3,
  details: { error: 'pi "died" \\ with é and 😀\n', error_kind: 'pi' },
};
const bytesOf = (value: unknown): Buffer => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const parse = (value: unknown) => parseLifecycleDatagram(bytesOf(value));

test('a whole datagram becomes a record with the delivery id it echoed', () => {
  expect(parse(failed)).toEqual({
    event_id: 'opencrow:crow1:12:3:failed',
    delivery_id: 'wl_aaaa~2',
    source_event_id: 'ev-1',
    source: 'rss',
    action: 'triage',
    status: 'failed',
    occurred_at: '2026-11-21T08:00:22.982182126Z',
    opencrow_instance: 'crow1',
    inbox_id: 12,
    attempt: 3,
    error: failed.details.error,
    error_kind: 'pi',
  });
});

test('cut at any byte, it is unreadable or its head is right; a number or an identity is never half read', () => {
  const whole = bytesOf(failed);
  const record = parseLifecycleDatagram(whole) as Record<string, unknown>;
  let salvaged = 0;
  for (let length = 0; length < whole.length; length += 1) {
    const cut = parseLifecycleDatagram(whole.subarray(0, length)) as Record<string, unknown>;
    if ('unreadable' in cut) continue;
    salvaged += 1;
    const { truncated, error, ...head } = cut;
    expect(truncated).toBe(true);
    for (const [name, value] of Object.entries(head)) expect([name, value]).toEqual([name, record[name]]);
    if (typeof error === 'string') expect(failed.details.error.startsWith(error)).toBe(true);
  }
  // All cuts behind `occurred_at`.
  expect(salvaged).toBeGreaterThan(100);
  const atTheEnd = parseLifecycleDatagram(whole.subarray(0, whole.length - 30)) as Record<string, unknown>;
  expect(String(record['error']).startsWith(String(atTheEnd['error']))).toBe(true);
  expect(atTheEnd['error']).not.toBe('');
});

test('a datagram that a receiver cut at 65,535 bytes keeps the head of its error text', () => {
  const huge = bytesOf({ ...failed, details: { error: 'x'.repeat(200_000), error_kind: 'pi' } }).subarray(0, 65_535);
  expect(parseLifecycleDatagram(huge)).toMatchObject({
    event_id: failed.event_id,
    status: 'failed',
    attempt: 3,
    truncated: true,
    error: 'x'.repeat(2_000),
  });
});

test.each([
  ['not_utf8', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
  ['not_json', 'hello'],
  ['not_json', '{"version":1]'],
  ['not_an_object', '[1]'],
  ['not_an_object', 'null'],
  ['wrong_version', { ...failed, version: 2 }],
  ['wrong_type', { ...failed, type: 'workload.progress' }],
  ['unknown_status', { ...failed, status: 'paused' }],
  ['missing_field', { ...failed, workload_id: 7 }],
  ['missing_field', { ...failed, event_id: '' }],
  ['field_too_long', { ...failed, workload_id: 'w'.repeat(301) }],
] as const)('%s is recorded as unreadable, with its hash', (why, datagram) => {
  const bytes = Buffer.isBuffer(datagram) ? datagram : bytesOf(datagram);
  expect(parseLifecycleDatagram(bytes)).toMatchObject({
    unreadable: true,
    why,
    bytes: bytes.length,
    sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test('unknown fields are passed over, wrong optional ones left out, text made storable', () => {
  const record = parse({
    ...failed,
    progress: 0.5,
    inbox_id: 'seven',
    details: { error: `nul \0 lone \ud800 ${'é'.repeat(3_000)}`, error_kind: 3, reply_suppressed: 'yes', more: {} },
  }) as Record<string, unknown>;
  expect(record).not.toHaveProperty('inbox_id');
  expect(record).not.toHaveProperty('reply_suppressed');
  expect(String(record['error']).startsWith('nul \ufffd lone \ufffd é')).toBe(true);
  expect(record['error']).toHaveLength(2_000);
});

test('whatever arrives gives a record that the protocol accepts', () => {
  const datagram = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map(bytesOf),
    fc
      .tuple(fc.constantFrom(...Object.keys(failed)), fc.jsonValue(), fc.nat(400))
      .map(([name, value, length]) => bytesOf({ ...failed, [name]: value }).subarray(0, length)),
  );
  fc.assert(
    fc.property(datagram, (bytes) => {
      expect(lifecycleBatch.safeParse({ records: [parseLifecycleDatagram(bytes)] }).success).toBe(true);
    }),
    { numRuns: 2_000 },
  );
});

test('deep nesting costs no time', () => {
  const started = Date.now();
  parse(`{"a":${'[1,'.repeat(21_000)}`);
  expect(Date.now() - started).toBeLessThan(1_000);
});
