import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Response } from 'express';
import type { StreamedBody } from './route';

/** A caller that takes nothing for this long is gone. */
const STALLED_MS = 60_000;

/**
 * Sends a body piece by piece: the next one is made when the caller took the one before. When the caller goes away, or takes
 * nothing for a minute, no further piece is made. What fails on the way cuts the answer off, so that it is noticed.
 */
export async function sendStream(response: Response, body: StreamedBody): Promise<void> {
  // It says nothing about the speed of the service.
  response.locals.waited = true;
  const { log } = response.req;
  try {
    if (response.req.method === 'HEAD') {
      response.end();
      return;
    }
    response.setTimeout(STALLED_MS, () => response.destroy());
    await pipeline(Readable.from(body.pieces, { highWaterMark: 1 }), response);
  } catch (error) {
    response.destroy();
    const why = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : 'unknown';
    log.warn({ error: why }, 'a streamed answer was cut off');
  } finally {
    await body.close();
  }
}
