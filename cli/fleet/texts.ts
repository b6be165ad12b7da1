import { formatDuration } from '../../contracts/duration';

/** How long ago, in its two largest units; `never` for null. A clock that is behind counts as now. */
export function ageText(at: string | null, now: Date): string {
  if (at === null) return 'never';
  const units = formatDuration(Math.max(0, now.getTime() - Date.parse(at)));
  return /^\d+[a-z](\d+[a-z])?/.exec(units)![0];
}

/** A time and how long ago it was. */
export const sinceText = (at: string, now: Date): string => `${secondsText(at)} (${ageText(at, now)})`;

/** A time to the second. */
export const secondsText = (at: string): string => new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');

/** `1 unit`, `2 units`. */
export const count = (number: number, thing: string, things = `${thing}s`): string =>
  `${number} ${number === 1 ? thing : things}`;

/** Text cut to a column's width. */
export const short = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, width - 1)}…`;

/** A list for people, `-` when it is empty. */
export const listText = (list: readonly (string | number)[]): string => (list.length === 0 ? '-' : list.join(', '));
