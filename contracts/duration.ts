import { z } from 'zod';

const SECOND = 1000;
const UNITS = { d: 86_400 * SECOND, h: 3600 * SECOND, m: 60 * SECOND, s: SECOND } as const;
const DURATION = /^(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?$/;

/** Milliseconds of a duration such as `30m`, `24h`, `7d` or `1h30m` (units d, h, m, s, in that order); null for anything else. */
export function parseDuration(text: string): number | null {
  const match = text === '' ? null : DURATION.exec(text);
  if (!match) return null;
  const [, d, h, m, s] = match;
  return Number(d ?? 0) * UNITS.d + Number(h ?? 0) * UNITS.h + Number(m ?? 0) * UNITS.m + Number(s ?? 0) * UNITS.s;
}

/** The shortest text of a whole number of seconds, e.g. `1h30m`. The inverse of {@link parseDuration}. */
export function formatDuration(milliseconds: number): string {
  let rest = Math.floor(milliseconds / SECOND) * SECOND;
  let text = '';
  for (const [unit, size] of Object.entries(UNITS)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) text += `${count}${unit}`;
  }
  return text || '0s';
}

/** A duration text within bounds (both inclusive, written as durations); parsed to milliseconds. */
export function duration(min: string, max: string) {
  const [least, most] = [parseDuration(min)!, parseDuration(max)!];
  return z.string('must be a duration such as 30m, 24h or 1h30m').transform((text, context): number => {
    const milliseconds = parseDuration(text);
    if (milliseconds !== null && milliseconds >= least && milliseconds <= most) return milliseconds;
    const message =
      milliseconds === null ? 'must be a duration such as 30m, 24h or 1h30m' : `must be between ${min} and ${max}`;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}
