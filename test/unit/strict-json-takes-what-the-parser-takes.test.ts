import fc from 'fast-check';
import { parseStrictJson } from '../../api/strict-json';

const outcome = (parse: () => unknown): unknown => {
  try {
    return { value: parse() };
  } catch {
    return 'refused';
  }
};

test('every JSON value comes back as it was', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8 }), (text) => {
      expect(parseStrictJson(text)).toEqual(JSON.parse(text));
    }),
  );
});

test('of texts that are nearly JSON it takes and refuses the same as JSON.parse, names that are there twice excepted', () => {
  const part = fc.constantFrom(
    ...[
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"a"',
      '"\\u0062"',
      '"',
      '\\',
      '0',
      '1',
      '-',
      '.',
      'e',
      'true',
      'null',
      ' ',
      '\n',
    ],
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 9 }), (parts) => {
      const text = parts.join('');
      fc.pre(
        new Set(parts.filter((each) => each.startsWith('"'))).size ===
          parts.filter((each) => each.startsWith('"')).length,
      );
      expect(outcome(() => parseStrictJson(text))).toEqual(outcome(() => JSON.parse(text)));
    }),
    { numRuns: 5000 },
  );
});

test.each([
  ['{"a":1,"a":2}', /twice at line 1, column 8/],
  ['{"a":1,"\\u0061":2}', /twice/],
  ['[{"a":1},{"a":\n  1,}]', /expected key at line 2, column 5/],
  ['{} {}', /something follows the value at line 1, column 4/],
  ['', /line 1, column 1/],
])('%j is refused with its place', (text, message) => {
  expect(() => parseStrictJson(text)).toThrow(message);
});

test('no nesting can overflow the stack', () => {
  expect(() => parseStrictJson('['.repeat(1_000_000))).toThrow(/nested deeper than 100/);
  expect(parseStrictJson('['.repeat(100) + ']'.repeat(100))).toBeDefined();
});
