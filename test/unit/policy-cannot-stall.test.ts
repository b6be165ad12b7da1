import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { celContext } from '../../domain/policy/cel-environment';
import { EVENT_UNITS, EXPRESSION_UNITS, Meter } from '../../domain/policy/cel-meter';
import { evaluatePolicy } from '../../domain/policy/evaluate';
import { compileExpression, evaluateExpression } from '../../domain/policy/expression';
import { parsePolicy } from '../../domain/policy/parse';
import { eventOf, policyOf, when } from '../support/policy';

const items = Array.from({ length: 10_000 }, (_, at) => at);
const words = items.map((at) => `w${at}`);
/** As large as an event may be, in every way that an expression could suffer from. */
const HUGE = eventOf({
  items,
  words,
  text: 'a'.repeat(200_000),
  objects: items.slice(0, 3000).map((id) => ({ id, name: 'x' })),
  map: Object.fromEntries(words.map((word) => [word, 1])),
});
/** What may still be counted after the meter is used up: a few steps of each loop that is being left. */
const OVERSHOOT = 3 * items.length + 1000;

function run(source: string): { error: string | null; value: unknown; spent: number } {
  const budget = new Meter(EVENT_UNITS);
  const outcome = evaluateExpression(compileExpression(source), celContext(HUGE, 'default'), budget);
  return { error: null, value: null, ...outcome, spent: budget.spent };
}

test.each([
  'event.data.items.all(x, event.data.items.all(y, x + y >= 0.0))',
  'event.data.items.exists(x, event.data.items.exists(y, event.data.items.exists(z, x + y + z < 0.0)))',
  'event.data.items.map(x, event.data.items.map(y, x)) == []',
  'event.data.items.all(x, x in event.data.items)',
  'event.data.words.all(w, !event.data.text.contains(w))',
  'event.data.objects.exists(o, o == event.data.objects)',
  'event.data.map.all(k, k in event.data.map)',
  'event.data.map.exists(k, event.data.map.exists(l, k == l + "!"))',
  'event.data.words.map(w, event.data.text + w).size() == 3',
  'event.data.words.exists(w, w.missing == 1 || event.data.nothing == w)',
  'cel.bind(t, event.data.text, t + t + t + t + t + t + t + t + t + t + t + t + t + t + t == "x")',
  'event.data.text.split("").size() > 3',
  `glob(event.data.text, "*${'a'.repeat(60)}b")`,
  'has(event.data.items) && event.data.items.filter(x, event.data.items.exists_one(y, x == y)).size() > 3',
])('%s is cut off after a fixed number of steps', (source) => {
  const { error, spent } = run(source);
  expect(error).toBe('too_expensive');
  // Steps are counted, not time: the same on every machine.
  expect(spent).toBeGreaterThan(EXPRESSION_UNITS);
  expect(spent).toBeLessThan(EXPRESSION_UNITS + OVERSHOOT);
  expect(run(source).spent).toBe(spent);
});

test.each([
  ['event.data.items.exists(x, x == 9999.0)', true],
  ['event.data.words.exists(w, w.startsWith("w99"))', true],
  ['event.data.objects.exists(o, o.id == 2999.0 && o.name == "x")', true],
  ['event.data.items.filter(x, x > 5.0).size() == 9994', true],
  ['event.data.items.map(x, x).size() == 10000', true],
  ['event.data.text.contains("aab")', false],
  ['"w9999" in event.data.words && "w7" in event.data.map', true],
  ['glob(event.data.text, "a*")', true],
  ['glob(event.data.text, "*ab")', false],
])('%s, one pass over the largest event, is affordable', (source, value) => {
  expect(run(source)).toMatchObject({ error: null, value });
});

test('all rules together are bounded: what is left over falls to the default', () => {
  const costly = 'event.data.items.all(x, event.data.items.all(y, x + y >= 0.0))';
  const policy = policyOf(...Array.from({ length: 100 }, (_, at) => when(`r${at}`, costly)), when('last', 'true'));
  const { decision, ruleId, trace } = evaluatePolicy(policy, HUGE, { tenant: 'default' });
  expect({ decision, ruleId }).toEqual({ decision: 'ignore', ruleId: null });
  expect(new Set(trace.map(({ error }) => error))).toEqual(new Set(['too_expensive']));
  expect(trace).toHaveLength(101);
});

test('1,000 rules on an ordinary event are far below the bound', () => {
  const rule = 'event.source == "github" && event.data.labels.exists(l, l == "x") && event.data.text.contains("y")';
  const policy = policyOf(
    ...Array.from({ length: 999 }, (_, at) => when(`r${at}`, rule.replace('github', `s${at}`))),
    when('z', 'true'),
  );
  const event = eventOf({ labels: words.slice(0, 50), text: 'z'.repeat(1000) }, { source: 's998' });
  expect(evaluatePolicy(policy, event, { tenant: 'default' }).ruleId).toBe('z');
});

describe('a text that is made to break the parser', () => {
  /** Parses texts in a fresh process: an engine that has parsed before stands more. */
  const parseInFreshProcess = (texts: string): string => {
    const script = `
      const { parsePolicy } = require(${JSON.stringify(path.resolve(__dirname, '../../dist/domain/policy/parse.js'))});
      for (const text of ${texts}) {
        try { parsePolicy(text); console.log('taken'); } catch (error) { console.log(error.name); }
      }`;
    return execFileSync(process.execPath, ['-e', script], { encoding: 'utf8', timeout: 30_000 });
  };

  test.each(['[', '- ', '? ', '["x",'])('%j over and over is refused, and the process lives', (piece) => {
    const texts = `[16000, 32000, 60000].map((bytes) => ${JSON.stringify(piece)}.repeat(bytes / ${piece.length}))`;
    expect(parseInFreshProcess(texts)).toBe('PolicyInvalid\n'.repeat(3));
  });

  test('the line that goes too deep is named', () => {
    const text = `version: 1\ndefault: { decision: ignore, reason: none }\nrules: ${'['.repeat(100)}\n`;
    expect(() => parsePolicy(text)).toThrow(/line 3.*nested deeper than 64 levels/);
  });

  test('more rules than allowed are refused before they are looked at', () => {
    const rules = Array.from({ length: 1_200 }, (_, index) => `  - { id: r${index}, when: nonsense( }`);
    const text = `version: 1\ndefault: { decision: ignore, reason: none }\nrules:\n${rules.join('\n')}\n`;
    expect(() => parsePolicy(text)).toThrow(/holds 1200 rules; at most 1000/);
  });
});
