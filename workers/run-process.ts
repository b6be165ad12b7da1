import type { Logger } from 'pino';
import { RunningParts } from './running-parts';

/** What a process works with while it starts and runs. */
export interface ProcessContext {
  /** Everything that is started goes here, in the order of its start. */
  parts: RunningParts;
  /** Aborted when the process is to stop, also in the middle of its start. */
  stopping: AbortSignal;
  /** Something happened that the process cannot go on with: it stops in order and fails. */
  fail: (error: unknown) => void;
  /** The process has done what it was there for: it stops in order. */
  end: () => void;
  logger: Logger;
}

export interface ProcessOptions {
  start: (context: ProcessContext) => Promise<void>;
  /** How long the stop may take to finish what is held, milliseconds. */
  graceMs: number;
  logger: Logger;
}

/** Exit code after a second signal cut the stop short. */
export const FORCED_EXIT_CODE = 130;
/** Servers of `up` may take this long to write everything down, beyond the grace. */
const SLACK_MS = 60_000;
const STOP_SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;

/**
 * Runs a process until SIGTERM, SIGINT or SIGHUP, then stops its parts in order. It is the only owner of these signals; a second
 * one ends the process by force. Resolves after an ordered stop, and rejects with what made the process fail.
 */
export async function runProcess({ start, graceMs, logger }: ProcessOptions): Promise<void> {
  const parts = new RunningParts(logger);
  const stop = new AbortController();
  let failure: { error: unknown } | undefined;
  const fail = (error: unknown): void => {
    failure ??= { error };
    stop.abort();
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    if (stop.signal.aborted) return forceEnd(parts, logger, `a second ${signal}`, FORCED_EXIT_CODE);
    logger.info({ signal, grace_ms: graceMs }, 'stopping; another signal ends the process at once');
    stop.abort();
  };
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  process.on('uncaughtException', fail);
  process.on('unhandledRejection', fail);
  try {
    await start({ parts, stopping: stop.signal, fail, end: () => stop.abort(), logger }).catch((error: unknown) => {
      // A stop in the middle of the start makes the start fail, and is no failure.
      if (!stop.signal.aborted) fail(error);
    });
    await aborted(stop.signal);
    const late = setTimeout(() => {
      forceEnd(parts, logger, `${parts.stopping ?? 'something'} did not stop in time`, 1);
    }, graceMs + SLACK_MS);
    const inOrder = await parts.stop(graceMs);
    clearTimeout(late);
    if (failure) throw failure.error;
    if (!inOrder) throw new Error('not everything could be stopped in order; see the log');
    logger.info('stopped');
  } finally {
    for (const signal of STOP_SIGNALS) process.off(signal, onSignal);
    process.off('uncaughtException', fail);
    process.off('unhandledRejection', fail);
  }
}

function forceEnd(parts: RunningParts, logger: Logger, why: string, code: number): void {
  logger.fatal({ why, part: parts.stopping }, 'ending by force; what was held is taken up again after the next start');
  parts.abandon();
  process.exit(code);
}

const aborted = (signal: AbortSignal): Promise<void> =>
  signal.aborted
    ? Promise.resolve()
    : new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
