import { Router } from 'express';
import type { Request, RequestHandler, Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import { Problem } from '../contracts/problems';
import type { TokenPrincipal } from '../ledger/tokens';
import type { WorkerPrincipal } from '../ledger/workers';
import type { RouteDeps } from './app-deps';
import { authorize, type AuthContext } from './auth';
import { readBody, readFields } from './body';
import { StreamedBody, type Route, type RouteAnswer } from './route';
import { sendStream } from './send-stream';

type Principal = TokenPrincipal | WorkerPrincipal | null;

/** Makes the declared routes answer. A path asked with another method is `method_not_allowed` with `Allow`. */
export function mountRoutes(routes: readonly Route[], deps: RouteDeps): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const limit = requestLimit(deps.config?.requestsPerMinute ?? 0);
  for (const [template, declared] of byPath(routes)) {
    const path = template.replace(/\{(\w+)\}/g, ':$1');
    for (const each of declared) {
      router[each.method](path, authentication(each, deps.auth), limit, answering(each, deps));
    }
    router.all(path, otherMethod(template, declared));
  }
  return router;
}

function byPath(routes: readonly Route[]): Map<string, Route[]> {
  const paths = new Map<string, Route[]>();
  for (const each of routes) paths.set(each.path, [...(paths.get(each.path) ?? []), each]);
  return paths;
}

function otherMethod(template: string, declared: readonly Route[]): RequestHandler {
  const methods = declared.map(({ method }) => method.toUpperCase());
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : [])].join(', ');
  return (_request, response) => {
    response.locals.route = template;
    response.setHeader('Allow', allow);
    throw new Problem('method_not_allowed', `Only ${allow} here.`);
  };
}

/** Finds out who asks, for the handlers after it. */
function authentication(declared: Route, auth: AuthContext): RequestHandler {
  return async (request, response, next) => {
    response.locals.route = declared.path;
    const principal = await authorize(auth, request, declared.access);
    response.locals.principal = principal;
    response.locals.actor = actorOf(principal);
    next();
  };
}

const actorOf = (principal: Principal): string | undefined =>
  principal === null
    ? undefined
    : 'workerId' in principal
      ? `worker:${principal.workerId}`
      : `token:${principal.tokenId}`;

/**
 * Counts by token, not by address: a token is one client wherever it calls from. What a worker does under a lease is not counted:
 * work is bounded by its leases, and a renewal that is refused would lose one.
 */
function requestLimit(perMinute: number): RequestHandler {
  return rateLimit({
    windowMs: 60_000,
    limit: perMinute,
    skip: (_request, { locals }: Response) =>
      perMinute === 0 || locals.actor === undefined || /\/(leases|work)\/\{work_id\}\//.test(locals.route as string),
    keyGenerator: (_request, response: Response) => response.locals.actor as string,
    standardHeaders: 'draft-8',
    legacyHeaders: false,
    handler: (request: Request & { rateLimit?: { resetTime?: Date } }) => {
      const retryAfterMs = (request.rateLimit?.resetTime?.getTime() ?? Date.now() + 60_000) - Date.now();
      throw new Problem('rate_limit.exceeded', `More than ${perMinute} requests a minute.`, { retryAfterMs });
    },
  });
}

function answering(declared: Route, deps: RouteDeps): RequestHandler {
  const handle = declared.handle as (request: object) => Promise<RouteAnswer> | RouteAnswer;
  return async (request, response) => {
    const fields = readFields(request, declared);
    const body = declared.body && (await readBody(request, response, { ...declared, body: declared.body }));
    const principal = response.locals.principal as Principal;
    await send(response, await handle({ deps, principal, ...fields, body, raw: request, response }));
  };
}

async function send(response: Response, { status, body, headers, mediaType }: RouteAnswer): Promise<void> {
  for (const [name, value] of Object.entries(headers ?? {})) response.setHeader(name, value);
  if (body === undefined) {
    response.status(status).end();
    return;
  }
  response.status(status).type(mediaType ?? 'application/json');
  if (body instanceof StreamedBody) await sendStream(response, body);
  else response.send(typeof body === 'string' ? body : JSON.stringify(body));
}
