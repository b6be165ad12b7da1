import fc from 'fast-check';
import { textDigest } from '../../domain/execution/evidence';
import { AnswerReader, type ReadAnswer } from '../../executors/remote/answer-reader';

function read(body: Buffer, cuts: readonly number[] = []): ReadAnswer | 'too-large' {
  const reader = new AnswerReader();
  let from = 0;
  for (const to of [...cuts.map((cut) => cut % (body.length + 1)).sort((a, b) => a - b), body.length]) {
    reader.add(body.subarray(from, to));
    from = to;
  }
  return reader.end();
}

/** What the whole text says, read at once. */
function expected(body: Buffer): { value: unknown; stdout: string | null } {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    return { value: undefined, stdout: null };
  }
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isObject || typeof (value as { stdout?: unknown }).stdout !== 'string') return { value, stdout: null };
  const { stdout } = value as { stdout: string };
  return { value: { ...(value as object), stdout: '' }, stdout };
}

function same(body: Buffer, cuts: readonly number[]): void {
  const answer = read(body, cuts);
  if (answer === 'too-large') throw new Error('too large');
  const { value, stdout } = expected(body);
  expect(answer.value).toEqual(value);
  expect(answer.stdout === null ? null : Buffer.concat([...answer.stdout.pieces]).toString('utf8')).toBe(
    stdout === null ? null : Buffer.from(stdout, 'utf8').toString('utf8'),
  );
  expect(answer.stdout?.digest ?? null).toBe(stdout === null ? null : textDigest(stdout));
}

const cuts = fc.array(fc.nat(5_000), { maxLength: 12 });
const odd = fc.constantFrom('"', '\\', '\\\\', '\0', '\u{1f600}', '\ud83d', '\ude00', 'ä', '\n', 'u00', ',', ':', '{');
const text = fc
  .array(fc.oneof(odd, fc.string({ unit: 'binary', maxLength: 4 })), { maxLength: 12 })
  .map((p) => p.join(''));

test('an answer means what it means when it is read at once, wherever it is cut', () => {
  const part = fc.oneof(text, fc.jsonValue({ maxDepth: 2 }));
  const key = fc.oneof(fc.constantFrom('stdout', 'jobId', 'a'), text);
  const answer = fc.array(fc.tuple(key, part), { maxLength: 5 });
  fc.assert(
    fc.property(answer, fc.constantFrom(undefined, 1), fc.boolean(), cuts, (fields, indent, escapeAll, where) => {
      const members = fields.map(([name, value]) => `${JSON.stringify(name)} :${JSON.stringify(value, null, indent)}`);
      const json = `{${members.join(',\n')}}`;
      const spelled = escapeAll
        ? json.replace(/[\u0080-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
        : json;
      same(Buffer.from(spelled, 'utf8'), where);
    }),
    { numRuns: 400 },
  );
});

test('what is no JSON is none, wherever it is cut', () => {
  const pieces = fc.constantFrom(
    '{',
    '}',
    '[',
    ']',
    '"',
    '\\',
    'u12',
    '"stdout"',
    ':',
    ',',
    '"x"',
    '1',
    'null',
    ' ',
    '\n',
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 14 }), cuts, (parts, where) => {
      same(Buffer.from(parts.join('')), where);
    }),
    { numRuns: 800 },
  );
});

test.each([
  '[{"stdout":"a"}]',
  '{"x":{"stdout":"a"}}',
  '{"stdout":"a","stdout":"b"}',
  '{"stdout":"a","stdout":1}',
  '{"stdout":["a"]}',
])('the text of %s', (json) => same(Buffer.from(json), [3, 9, 14]));

test('32 MiB of NUL are within the limit however JSON spells them, one byte more is not, and one copy is held', () => {
  const limit = 32 * 1024 * 1024;
  const chunk = Buffer.from('\\u0000'.repeat(8192));
  const reader = new AnswerReader();
  const before = process.memoryUsage();
  reader.add(Buffer.from('{"exitCode":0,"stdout":"'));
  for (let sent = 0; sent < limit; sent += 8192) reader.add(chunk);
  const { arrayBuffers } = process.memoryUsage();
  expect(arrayBuffers - before.arrayBuffers).toBeLessThan(limit * 1.5);
  reader.add(Buffer.from('"}'));
  const answer = reader.end() as ReadAnswer;
  expect(answer.value).toEqual({ exitCode: 0, stdout: '' });
  expect(answer.stdout!.pieces.reduce((sum, { length }) => sum + length, 0)).toBe(limit);

  const over = new AnswerReader();
  over.add(Buffer.from(`{"stdout":"${'x'.repeat(limit + 1)}"}`));
  expect(over.end()).toBe('too-large');
});
