import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { ProblemCode } from '../contracts/problems';
import type { Access, PrincipalFor } from './auth';
import type { RouteDeps } from './app-deps';

/** Path parameters by name, query parameters by name, headers by their usual spelling. */
type Fields = z.ZodObject;
/** A body's schema for each media type it may come as. Schemas of text types get the text. */
type BodyByMediaType = Readonly<Record<string, z.ZodType>>;

/** A success answer as documented. Without a schema it is text of `mediaType`. */
export interface DocumentedAnswer {
  description: string;
  schema?: z.ZodType;
  /** Default `application/json`. */
  mediaType?: string;
  headers?: Record<string, string>;
}

/** A body of unknown length, sent piece by piece as fast as the caller takes them. */
export class StreamedBody {
  constructor(
    readonly pieces: AsyncGenerator<string | Uint8Array, void, void>,
    /** Called once, whether all was sent, the caller went away or a piece failed. */
    readonly close: () => Promise<void>,
  ) {}
}

/** What a handler gives back. */
export interface RouteAnswer {
  status: number;
  /** Sent as JSON; a string is sent as it is, a {@link StreamedBody} piece by piece, and of `undefined` nothing. */
  body: unknown;
  headers?: Record<string, string>;
  mediaType?: string;
}

type Parsed<T extends z.ZodType | undefined> = T extends z.ZodType ? z.output<T> : undefined;
type ParsedBody<B extends BodyByMediaType | undefined> = B extends BodyByMediaType ? z.output<B[keyof B]> : undefined;

/** One request, checked. */
export interface RouteRequest<
  A extends Access = Access,
  P extends Fields | undefined = undefined,
  Q extends Fields | undefined = undefined,
  H extends Fields | undefined = undefined,
  B extends BodyByMediaType | undefined = undefined,
> {
  deps: RouteDeps;
  principal: PrincipalFor<A>;
  params: Parsed<P>;
  query: Parsed<Q>;
  headers: Parsed<H>;
  body: ParsedBody<B>;
  /** The body as it came. */
  raw: Request;
  /** For noticing that the caller is gone. */
  response: Response;
}

interface RouteSpec<
  A extends Access,
  P extends Fields | undefined,
  Q extends Fields | undefined,
  H extends Fields | undefined,
  B extends BodyByMediaType | undefined,
> {
  method: 'get' | 'post' | 'put' | 'delete';
  /** With `{name}` for parameters. */
  path: string;
  operationId: string;
  tag: string;
  summary: string;
  description?: string;
  access: A;
  params?: P;
  query?: Q;
  headers?: H;
  body?: B;
  /** A request without a body is taken as one with `{}`. Default false. */
  bodyIsOptional?: boolean;
  /** Of a route that reads its body itself (`readBytes`): what that may be, for the documentation. */
  ownBody?: BodyByMediaType;
  /** Bytes of the body, at most. Default 256 KiB. */
  maxBodyBytes?: number;
  answers: Record<number, DocumentedAnswer>;
  /** Problems this route may answer with, besides those that every route of its kind may. */
  problems?: readonly ProblemCode[];
  handle: (request: RouteRequest<A, P, Q, H, B>) => Promise<RouteAnswer> | RouteAnswer;
}

/** A declared route: what is mounted is what is documented. */
export type Route = Omit<
  RouteSpec<Access, Fields | undefined, Fields | undefined, Fields | undefined, BodyByMediaType | undefined>,
  'handle'
> & { handle: (request: never) => Promise<RouteAnswer> | RouteAnswer };

/** Declares a route. The types of what its handler gets follow from the schemas. */
export const route = <
  const A extends Access,
  P extends Fields | undefined = undefined,
  Q extends Fields | undefined = undefined,
  H extends Fields | undefined = undefined,
  B extends BodyByMediaType | undefined = undefined,
>(
  spec: RouteSpec<A, P, Q, H, B>,
): Route => spec;

/** The problems a route may answer with: its own and those its kind brings. */
export function problemsOf(declared: Route): ProblemCode[] {
  const { access } = declared;
  const hasBody = (declared.body ?? declared.ownBody) !== undefined;
  const checksFields = declared.query !== undefined || declared.headers !== undefined || hasBody;
  return [
    'request.malformed',
    'internal',
    'shutting_down',
    ...(access.kind === 'none'
      ? []
      : ([
          'auth.required',
          'auth.scope_required',
          'auth.backoff',
          'rate_limit.exceeded',
          'ledger.unavailable',
        ] as const)),
    ...(declared.params ? (['not_found'] as const) : []),
    ...(checksFields ? (['request.unknown_field', 'request.invalid'] as const) : []),
    ...(hasBody ? (['request.too_large', 'request.unsupported_media_type'] as const) : []),
    ...(declared.problems ?? []),
  ];
}
