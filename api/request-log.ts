import { randomUUID } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';
import type { Logger } from 'pino';
import { pinoHttp } from 'pino-http';

const REQUEST_ID = /^[A-Za-z0-9._:/+=@-]{1,128}$/;
/** Asked for all the time by machines; logged at debug. */
const QUIET = new Set(['/livez', '/readyz', '/metrics']);

/**
 * Gives each request its id (the caller's `X-Request-Id` when it is 1–128 plain characters, else a new one), answers with it,
 * and writes one line per request: route, status, time, who. No address, query, header or body gets into the log.
 */
export function requestLog(logger: Logger): RequestHandler {
  return pinoHttp<Request, Response>({
    logger,
    genReqId: (request, response) => {
      const given = request.headers['x-request-id'];
      const id = typeof given === 'string' && REQUEST_ID.test(given) ? given : randomUUID();
      response.setHeader('X-Request-Id', id);
      return id;
    },
    serializers: {
      req: ({ id, method }: { id: string; method: string }) => ({ id, method }),
      res: ({ statusCode }: { statusCode: number }) => ({ status: statusCode }),
      err: (error: { type?: string }) => ({ type: error.type }),
    },
    customLogLevel: (request, response) => {
      if (response.statusCode >= 500) return 'error';
      return QUIET.has(request.path) ? 'debug' : 'info';
    },
    customProps: (_request, response) => ({
      route: response.locals.route as unknown,
      problem: response.locals.problemCode as unknown,
      actor: response.locals.actor as unknown,
    }),
  }) as RequestHandler;
}
