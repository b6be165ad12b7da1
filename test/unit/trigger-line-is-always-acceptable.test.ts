import fc from 'fast-check';
import type { JsonValue } from '../../contracts/events';
import { Secret } from '../../contracts/secret';
import { goTrimSpace, parseTrigger } from '../../examples/simulated-opencrow/workload-grammar';
import { LineScanner } from '../../examples/simulated-opencrow/line-scanner';
import { MAX_TRIGGER_LINE_BYTES, buildTriggerLine, type TriggerLineInput } from '../../executors/opencrow/trigger-line';

/** Strings with everything that breaks parsers: lone surrogates, NUL, newlines, separators, Go's spaces, astral characters. */
const nasty = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      ...['\0', '\n', '\r', '\t', '\u0085', '\u2028', '\u2029', '\ud800', '\udc00', '"', '\\', 'a'],
      ...['ſ', '\ufeff', '\u00a0', '😀', '{', '}', 'workload.v1 ', '--- end trigger ---'],
    ),
    maxLength: 40,
  }),
);
const fieldName = fc.oneof(
  nasty,
  fc.constantFrom(
    'workload_id',
    'Workload_ID',
    'EVENT_ID',
    'ſource',
    'source',
    'action',
    'response_policy',
    '__proto__',
    'data',
  ),
);
const json: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constant(null),
    fc.boolean(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    nasty,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.array(fc.tuple(fieldName, tie('value')), { maxLength: 4 }).map(objectOf),
  ),
})).value;
const slug = fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,63}$/);
const TOKEN = `owc_${'0'.repeat(16)}_${'A'.repeat(43)}`;
const input: fc.Arbitrary<TriggerLineInput> = fc
  .record({
    deliveryId: fc.oneof(nasty, fc.constant('wl_abc~2')),
    ids: fc.tuple(nasty, nasty, nasty),
    fields: fc.array(fc.tuple(fieldName, json), { maxLength: 6 }),
    extraInclude: fc.array(fieldName, { maxLength: 3 }),
    prompt: fc.option(fc.oneof(nasty, fc.string({ minLength: 3_000, maxLength: 5_000 }))),
    policy: fc.option(nasty),
    offered: fc.option(fc.array(fc.record({ hook: slug, operations: fc.array(slug) }))),
  })
  .map(({ deliveryId, ids: [source, action, event_id], fields, extraInclude, prompt, policy, offered }) => ({
    deliveryId,
    event: { source, action, event_id, data: objectOf(fields) },
    trigger: { prompt, response_policy: policy, include: [...fields.map(([name]) => name), ...extraInclude] },
    capability: offered && { token: new Secret(TOKEN), offered },
  }));

function objectOf(entries: [string, JsonValue][]): Record<string, JsonValue> {
  const object = Object.create(null) as Record<string, JsonValue>;
  for (const [name, value] of entries) object[name] = value;
  return object;
}

test('any event gives a refusal, or one line that OpenCrow takes as this workload with its ids unchanged', () => {
  let lines = 0;
  fc.assert(
    fc.property(input, (given) => {
      const built = buildTriggerLine(given);
      if (!built.ok) return;
      lines += 1;
      const bytes = Buffer.from(`\n${built.line}\n`);
      expect(bytes.length).toBeLessThanOrEqual(4096);
      expect(bytes.toString('utf8')).toBe(`\n${built.line}\n`);
      const received = new LineScanner()
        .push(bytes)
        .map(goTrimSpace)
        .filter((line) => line !== '');
      expect(received).toEqual([built.line]);
      expect(parseTrigger(built.line)).toEqual({
        kind: 'workload',
        metadata: {
          workload_id: given.deliveryId,
          event_id: given.event.event_id,
          source: given.event.source,
          action: given.event.action,
          response_policy: given.trigger.response_policy?.replace(/\p{Cs}/gu, '\ufffd') ?? '',
        },
      });
      const { capability } = given;
      expect(built.line.includes(TOKEN)).toBe(Boolean(capability));
      if (capability) {
        expect(JSON.parse(built.line.slice('workload.v1 '.length))).toMatchObject({
          capability_token: TOKEN,
          capabilities: capability.offered,
        });
      }
      expect(/[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]/u.test(built.line)).toBe(false);
    }),
    { numRuns: 2_000 },
  );
  expect(lines).toBeGreaterThan(200);
});

const event = { source: 'rss', action: 'triage', event_id: 'rss:1', data: {} };
const trigger = { prompt: null, include: [], response_policy: null };

test('a line of exactly the limit is built, one byte more is refused with the size and the limit', () => {
  const frame = buildTriggerLine({ deliveryId: 'wl_1', event, trigger: { ...trigger, prompt: '' } });
  if (!frame.ok) throw new Error(frame.detail);
  const room = MAX_TRIGGER_LINE_BYTES - frame.bytes;
  const withPrompt = (prompt: string) =>
    buildTriggerLine({ deliveryId: 'wl_1', event, trigger: { ...trigger, prompt } });
  expect(withPrompt('x'.repeat(room))).toMatchObject({ ok: true, bytes: 4094 });
  expect(withPrompt('x'.repeat(room + 1))).toEqual({
    ok: false,
    code: 'trigger.line_too_long',
    detail: 'the trigger line has 4095 bytes, the limit is 4094',
  });
  // Bytes are counted, not characters.
  expect(withPrompt('é'.repeat(Math.ceil((room + 1) / 2)))).toMatchObject({ code: 'trigger.line_too_long' });
});

test.each(['source', 'action', 'event_id'] as const)(
  'a lone surrogate in %s is refused: it would come back changed',
  (field) => {
    const built = buildTriggerLine({ deliveryId: 'wl_1', event: { ...event, [field]: 'a\ud800b' }, trigger });
    expect(built).toMatchObject({ ok: false, code: 'trigger.unsendable_field' });
  },
);

test('only the fields a rule includes are in the line, nested so that none can take the place of an id', () => {
  const data = { workload_id: 'forged', Source: 'forged', entry_id: 7, secret: 'not included' };
  const include = ['Source', 'workload_id', 'entry_id', 'missing'];
  const built = buildTriggerLine({ deliveryId: 'wl_1', event: { ...event, data }, trigger: { ...trigger, include } });
  if (!built.ok) throw new Error(built.detail);
  expect(JSON.parse(built.line.slice('workload.v1 '.length))).toEqual({
    workload_id: 'wl_1',
    event_id: 'rss:1',
    source: 'rss',
    action: 'triage',
    data: { Source: 'forged', workload_id: 'forged', entry_id: 7 },
  });
});
