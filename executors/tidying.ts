import type { Logger } from 'pino';
import type { Backend, TidyContext } from './backend';
import { Rounds } from '../domain/rounds';

export interface TidyingOptions extends Omit<TidyContext, 'signal'> {
  backends: readonly Backend[];
  /** Time between two rounds, milliseconds. Default 180,000. */
  everyMs?: number;
  logger: Logger;
}

/** Ends what killed workers left on the backends: at once, and again every few minutes. */
export function tidying(options: TidyingOptions): Rounds {
  return new Rounds(async (signal) => {
    for (const backend of options.backends) await tidy(backend, options, signal);
    return options.everyMs ?? 180_000;
  });
}

async function tidy({ spec: { id }, tidy }: Backend, options: TidyingOptions, signal: AbortSignal): Promise<void> {
  const { logger } = options;
  try {
    const runs = (await tidy?.({ ...options, signal })) ?? [];
    if (runs.length > 0) logger.warn({ backend: id, runs }, 'ended what a killed worker had left running');
  } catch (error) {
    logger.error({ err: error, backend: id }, 'what killed workers left cannot be ended; trying again');
  }
}
