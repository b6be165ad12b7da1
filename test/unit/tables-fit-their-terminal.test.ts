import { ageText } from '../../cli/fleet/texts';
import { table } from '../../cli/table';
import { cutToSize, intervalOf } from '../../cli/watch';

test('a cell is one line that steers nothing', () => {
  const text = table(
    ['A\u001b[1m', 'B'],
    [
      ['x\r\ny\u0000', '\u001b]0;title\u0007'],
      ['\u202eabc\u2028', '\u009b2J'],
    ],
  );
  expect(text).toBe('A [1m  B\nx y     ]0;title\n abc    2J');
});

test('what does not fit a terminal is cut and counted', () => {
  const lines = ['one', 'two', 'three', 'four'];
  expect(cutToSize(lines, { columns: 4, rows: 5 })).toEqual(['one', 'two', 'thre', 'four']);
  expect(cutToSize(lines, { columns: 80, rows: 4 })).toEqual(['one', 'two', '… 2 more lines']);
  expect(cutToSize(['𝒳𝒳𝒳'], { columns: 2, rows: 1 })).toEqual(['𝒳𝒳']);
});

test('the interval of --watch is 2 s, or a duration from 1 s to 1 h', () => {
  expect([undefined, true, '1s', '1h'].map((text) => intervalOf(text as true))).toEqual([
    undefined,
    2000,
    1000,
    3_600_000,
  ]);
  for (const bad of ['0s', '2', '500ms', '2h', '', '-1s', 'host-1'])
    expect(() => intervalOf(bad)).toThrow('--watch must be');
});

test('ages have two units at most, and none is negative', () => {
  const now = new Date('2026-01-02T00:00:00Z');
  const before = (seconds: number): string => new Date(now.getTime() - seconds * 1000).toISOString();
  expect([-5, 0, 59, 61, 3600, 90_061].map((seconds) => ageText(before(seconds), now))).toEqual([
    '0s',
    '0s',
    '59s',
    '1m1s',
    '1h',
    '1d1h',
  ]);
  expect(ageText(null, now)).toBe('never');
});
