import { z } from 'zod';
import { duration, formatDuration, parseDuration } from './duration';

const ms = (text: string): number => parseDuration(text)!;

/** Deadlines of a rule that names none, in milliseconds. */
export const DEFAULT_DEADLINES = {
  queued: ms('24h'),
  start: ms('30m'),
  run: ms('2h'),
  resume: ms('30m'),
  total: ms('12h'),
  late: ms('24h'),
} as const;

/** The deadlines of a rule, in milliseconds. */
export type DeadlineTable = Record<keyof typeof DEFAULT_DEADLINES, number>;

const step = () => duration('1s', '90d').optional();
/** A rule's `deadlines` block. */
export const deadlines = z
  .strictObject({
    /** Offered → handed over. Then `refused`. Default `24h`. */
    queued: step(),
    /** Handed over → running. Then `lost`. Default `30m`. */
    start: step(),
    /** Running → end. Then `lost`. Default `2h`. */
    run: step(),
    /** Preempted → running again. Then `lost`. Default `30m`. */
    resume: step(),
    /** Offered → end, over everything. Default `12h`. */
    total: step(),
    /** How long after `lost` a late report still corrects it. `0s`–`90d`. Default `24h`. */
    late: duration('0s', '90d').optional(),
  })
  .superRefine((given, context) => {
    const total = given.total ?? DEFAULT_DEADLINES.total;
    for (const name of ['start', 'run', 'resume'] as const) {
      if ((given[name] ?? 0) <= total) continue;
      const origin = given.total === undefined ? 'the default total' : 'total';
      context.addIssue({
        code: 'custom',
        path: [name],
        message: `is longer than ${origin} (${formatDuration(total)}), which would end the work first: raise total`,
      });
    }
  })
  .transform((given): DeadlineTable => ({
    queued: given.queued ?? DEFAULT_DEADLINES.queued,
    start: given.start ?? DEFAULT_DEADLINES.start,
    run: given.run ?? DEFAULT_DEADLINES.run,
    resume: given.resume ?? DEFAULT_DEADLINES.resume,
    total: given.total ?? DEFAULT_DEADLINES.total,
    late: given.late ?? DEFAULT_DEADLINES.late,
  }));
