import type { ErrorRequestHandler, Request, RequestHandler, Response } from 'express';
import { z } from 'zod';
import { PROBLEMS, Problem, type ProblemCode, type ProblemItem } from '../contracts/problems';

/** The `type` of a problem is a name, not an address: this and its code. */
const TYPE_BASE = 'urn:workloadd:problem:';

/** An error answer, RFC 9457. */
export const problemDocument = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    /** Stable; callers may branch on it. */
    code: z.string(),
    detail: z.string(),
    /** Also in the header `X-Request-Id` and in the service's log. */
    request_id: z.string(),
    /** What is wrong where: JSON pointers into the body, or below `/query`, `/headers`. */
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .catchall(z.unknown())
  .meta({ id: 'Problem' });

const sentence = (code: ProblemCode): string => {
  const words = code.replace(/[._]/g, ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
};

/** The id of a request, as `X-Request-Id` answers it. */
export const requestIdOf = (request: Request): string => request.id as string;

/** The document of a problem. */
export function renderProblem(problem: Problem, requestId: string): Record<string, unknown> {
  return {
    ...problem.extra,
    type: TYPE_BASE + problem.code,
    title: sentence(problem.code),
    status: problem.status,
    code: problem.code,
    detail: problem.message,
    request_id: requestId,
    ...(problem.errors && { errors: problem.errors }),
  };
}

/** Answers with a problem. `Retry-After` is in whole seconds, rounded up. */
function sendProblem(response: Response, problem: Problem): void {
  if (problem.retryAfterMs !== undefined) {
    response.setHeader('Retry-After', String(Math.max(1, Math.ceil(problem.retryAfterMs / 1000))));
  }
  if (problem.status === 401) response.setHeader('WWW-Authenticate', 'Bearer');
  // What is left of such a body is not worth reading.
  if (problem.status === 413) response.setHeader('Connection', 'close');
  response
    .status(problem.status)
    .type('application/problem+json')
    .send(JSON.stringify(renderProblem(problem, requestIdOf(response.req))));
}

const MAX_ITEMS = 50;
const MAX_NAME_CHARS = 100;

/** What a schema refused, as a problem: an unknown field is 400, a broken rule 422. `base` is put before each pointer. */
export function problemFromZod(error: z.ZodError, base = ''): Problem {
  const issues = error.issues.flatMap(flatten);
  const items = issues.flatMap((issue) => itemsOf(issue, base)).slice(0, MAX_ITEMS);
  const unknown = issues.some((issue) => issue.code === 'unrecognized_keys');
  return unknown
    ? new Problem('request.unknown_field', 'The request has a field that is not known here.', { errors: items })
    : new Problem('request.invalid', 'The request breaks a rule.', { errors: items });
}

/** Of a union the branch that came closest speaks. */
function flatten(issue: z.core.$ZodIssue): z.core.$ZodIssue[] {
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
  const branches = issue.errors.map((errors) => errors.flatMap(flatten));
  const closest = branches.reduce((best, branch) => (misses(branch) < misses(best) ? branch : best));
  return closest.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
}

const misses = (issues: z.core.$ZodIssue[]): number =>
  issues.reduce((sum, issue) => sum + (issue.code === 'unrecognized_keys' ? issue.keys.length : 1), 0);

function itemsOf(issue: z.core.$ZodIssue, base: string): ProblemItem[] {
  const at = (path: readonly PropertyKey[]): string =>
    base + path.map((part) => `/${escapePointer(String(part))}`).join('');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ pointer: at([...issue.path, key]), detail: 'is not known here' }));
  }
  return [{ pointer: at(issue.path), detail: sentenceOf(issue) }];
}

const WRONG_TYPE = /^Invalid input: expected (\w+), received (\w+)$/;

/** What zod says of types, in the words of JSON, which has no `undefined`; everything else as the schema says it. */
function sentenceOf({ code, message }: z.core.$ZodIssue): string {
  const [, expected, received] = (code === 'invalid_type' && WRONG_TYPE.exec(message)) || [];
  if (received === 'undefined') return 'is missing';
  return expected ? `must be of type ${expected === 'record' ? 'object' : expected}, not ${received}` : message;
}

/** A name of the caller's own, cut so that an error never grows with what was sent. */
const escapePointer = (part: string): string =>
  part.slice(0, MAX_NAME_CHARS).replaceAll('~', '~0').replaceAll('/', '~1');

/** Errors of express and its body reader that are the caller's doing, by their `type` or status. */
function problemFromHttpError(error: { status?: unknown; type?: unknown; limit?: unknown }): Problem | null {
  if (error.type === 'entity.too.large') {
    return new Problem('request.too_large', `The body is larger than ${Number(error.limit) / 1024} KiB.`);
  }
  if (error.type === 'encoding.unsupported') {
    return new Problem('request.unsupported_media_type', 'Compressed bodies are not taken.');
  }
  if (error.type === 'charset.unsupported') {
    return new Problem('request.unsupported_media_type', 'Only UTF-8 is taken.');
  }
  return error.status === 400 ? new Problem('request.malformed', 'The request cannot be read.') : null;
}

/** What of an unexpected error may be logged: names and places, never its text, which may quote values. */
function traces(error: unknown): Record<string, unknown> {
  if (!(error instanceof Error)) return { error: typeof error };
  const frames = error.stack
    ?.split('\n')
    .filter((line) => /^\s+at /.test(line))
    .slice(0, 8);
  const { code } = error as { code?: unknown };
  return { error: error.name, code: typeof code === 'string' ? code : undefined, frames };
}

/** The problem an error stands for; null when nobody expected it. */
function problemOf(error: unknown): Problem | null {
  if (error instanceof Problem) return error;
  return typeof error === 'object' && error !== null ? problemFromHttpError(error) : null;
}

/** The last handler: every error becomes a problem document; an unexpected one is logged and says nothing. */
export const problemHandler: ErrorRequestHandler = (error: unknown, request, response, next) => {
  const problem =
    problemOf(error) ?? new Problem('internal', 'Something went wrong here. The request id finds it in the log.');
  if (problem.code === 'internal') request.log.error(traces(error), 'unexpected error');
  if (response.headersSent) {
    next(error);
    return;
  }
  response.locals.problemCode = problem.code;
  sendProblem(response, problem);
};

/** Answers what no route took. */
export const notFound: RequestHandler = () => {
  throw new Problem('not_found', 'There is no such route.');
};

/** The HTTP statuses of problem codes. */
export const statusesOf = (codes: readonly ProblemCode[]): number[] =>
  [...new Set(codes.map((code) => PROBLEMS[code]))].sort((a, b) => a - b);
